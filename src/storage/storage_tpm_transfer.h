/*
 * storage_tpm_transfer.h: upload and download of TPM volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What vol-upload and vol-download do, and how a running upload learns
 * of changes to its volume.
 */

#pragma once

#include "storage_conf.h"

/**
 * virStorageTPMDownload:
 * @pool: name of the pool
 * @vol: the volume: name and path
 * @stream: gets the volume's bytes
 * @offset, @len: which bytes; 0 for @len means all
 * @sparse: leave out holes
 *
 * Begins a download. What is sent is what the volume holds at this moment,
 * also if it is in use; see virStorageTPMStore.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageTPMDownload(const char *pool,
                          const virStorageVolDef *vol,
                          virStreamPtr stream,
                          unsigned long long offset,
                          unsigned long long len,
                          bool sparse)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMUpload:
 * @pool: definition of the pool
 * @vol: the volume: name and path
 * @stream: brings a linear file, also padded, or a bare blob of permanent state
 * @offset: must be 0
 * @len: how many bytes come at most; 0 for VIR_TPM_STATE_MAX_SIZE
 * @sparse: the stream has holes
 *
 * Begins an upload. The bytes are kept in memory; only when the stream is
 * finished the volume is locked, and gets them whole, or stays as it was and
 * the stream's finish gives the error.
 *
 * Encryption stays what it is. The state is opened with the volume's secret. If
 * it is the TPM that the volume is described as, identity and certificates stay.
 * If it is another one, a blank volume that was made for a certain TPM refuses it;
 * any other becomes that TPM, with a new identity and that TPM's certificates.
 *
 * Returns 0 on success, -1 with an error reported; VIR_ERR_RESOURCE_BUSY if
 * the volume is in use.
 */
int virStorageTPMUpload(const virStoragePoolDef *pool,
                        const virStorageVolDef *vol,
                        virStreamPtr stream,
                        unsigned long long offset,
                        unsigned long long len,
                        bool sparse)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMUploadNoteDeleted:
 * @path: path of a volume that was deleted, and whose name is not free yet
 *
 * Uploads to it that have not ended will fail, even if there is another volume of that
 * name by then.
 */
void virStorageTPMUploadNoteDeleted(const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMUploadNotePool:
 * @pool: definition of a pool that starts
 *
 * Uploads to a pool of that name that began when it had another directory, and have
 * not ended, will fail: its volumes are others now.
 */
void virStorageTPMUploadNotePool(const virStoragePoolDef *pool)
    ATTRIBUTE_NONNULL(1);
