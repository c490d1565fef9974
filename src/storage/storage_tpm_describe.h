/*
 * storage_tpm_describe.h: find out what a TPM volume is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever shows a volume or is about to use it learns from here what it is, by its file
 * and its sidecar, without opening the TPM.
 */

#pragma once

#include "storage_conf.h"
#include "storage_tpm_bytes.h"
#include "virtpmstate.h"

/**
 * virStorageTPMDescribeNew:
 * @def: definition of the pool
 * @name: name of a volume
 *
 * Returns a definition that has no more than name, type, path and key.
 */
virStorageVolDef *virStorageTPMDescribeNew(const virStoragePoolDef *def,
                                           const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDescribeFromFile:
 * @def: definition of the pool
 * @vol: the caller's own definition of a volume, with its path
 * @state: set to what the bytes tell
 * @clear: NULL, or to be set to the bytes if they are clear state
 *
 * Fills in what the file tells: size, owner, mode, format and encryption.
 *
 * Returns 0 on success, -1 otherwise; if @clear is given an error is always reported.
 */
int virStorageTPMDescribeFromFile(const virStoragePoolDef *def,
                                  virStorageVolDef *vol,
                                  virTPMState *state,
                                  virStorageTPMBytes **clear)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDescribe:
 * @def: the caller's own definition of the pool, which is not locked
 * @vol: as virStorageTPMDescribeNew() makes it
 *
 * Fills in what the volume is now.
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_NO_STORAGE_VOL if its file
 * is not there.
 */
int virStorageTPMDescribe(virStoragePoolDef *def,
                          virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
