/*
 * storage_tpm_copy.h: make TPM state from another volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What vol-create-from does in memory, before the store makes the volume: the state of
 * the source is read, converted and opened.
 */

#pragma once

#include "storage_tpm_bytes.h"

/**
 * virStorageTPMCopySetSource:
 * @origvol: the caller's own definition of a TPM volume that is to be copied, as it is
 *           described now
 * @pool: name of its pool
 *
 * Makes it known as a TPM volume of that pool, in its srcpool; any other volume is one
 * that is imported. It has <tpm> then, though maybe an empty one.
 */
void virStorageTPMCopySetSource(virStorageVolDef *origvol,
                                const char *pool)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMCopy:
 * @pool: definition of the pool
 * @vol: the volume to make
 * @origvol: the volume to copy; virStorageTPMCopySetSource() was called if it is a TPM
 *           volume
 *
 * Makes @vol the same TPM as @origvol. Its state is encrypted as @vol asks:
 * what differs from the source is converted by libvirt_tpmhelper, in memory.
 *
 * A TPM volume must be as it is described. A volume of another pool must hold
 * TPM state: a linear file, also padded, or a bare blob; if it is encrypted,
 * then with @vol's secret. Neither is changed.
 *
 * The copy is opened with its secret, and asked for its endorsement keys: they
 * must be the ones of the description, if that names any. @vol's TPM learns
 * identity, version, PCR banks and endorsement keys.
 *
 * Returns the state, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMCopy(const virStoragePoolDef *pool,
                                      virStorageVolDef *vol,
                                      const virStorageVolDef *origvol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMCopyParameters:
 * @vol: the volume to make
 * @origvol: the TPM volume to take them from
 *
 * Gives @vol's TPM the version, PCR banks and profile of the source.
 *
 * Returns 0 on success, -1 with an error reported if others were asked for.
 */
int virStorageTPMCopyParameters(virStorageVolDef *vol,
                                const virStorageVolDef *origvol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
