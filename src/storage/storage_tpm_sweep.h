/*
 * storage_tpm_sweep.h: remove what an interrupted operation has left in a pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a daemon that was killed leaves in a pool is removed at the next refresh, or before a
 * wipe or removal that has to overwrite it.
 */

#pragma once

#include "storage_conf.h"

/**
 * virStorageTPMSweep:
 * @dir: the pool's directory
 * @name: name of a file in it
 *
 * Removes the file if it is a temporary that can be locked and still has that name
 * then: nobody is making it any more. What it holds of a TPM's state, or of a volume
 * that was being wiped, is overwritten; if that fails it stays, with a warning in the
 * log.
 */
void virStorageTPMSweep(const char *dir,
                        const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMSweepOld:
 * @pool: definition of the pool
 * @name: name of a volume
 *
 * Overwrites and removes what a failed or interrupted wipe or removal has left of
 * the old content of a volume of that name.
 *
 * Returns 0 if nothing is left, -1 with an error reported.
 */
int virStorageTPMSweepOld(const virStoragePoolDef *pool,
                          const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
