/*
 * storage_tpm_scan.h: find the volumes in the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a refresh of a pool does with the files in its directory.
 */

#pragma once

#include "storage_tpm_refresh.h"

/**
 * virStorageTPMScan:
 * @refresh: a refresh of the pool, which is not locked
 * @def: the caller's own definition of the pool; size, owner and mode are filled in
 *
 * Reads the pool's directory: each volume in it is added to the pool, or brought up to
 * date there, by itself.
 *
 * Returns 0 on success, -1 with an error reported if the directory cannot be read.
 */
int virStorageTPMScan(virStorageTPMRefresh *refresh,
                      virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMScanAddSidecar:
 * @pool: definition of the pool
 * @name: name of a volume
 *
 * Gives a volume a sidecar with a new identity if it holds TPM state and has none:
 * never in place of another one, so that two hosts agree. Does nothing while the
 * volume is in use. The volume is locked while it is probed and while the sidecar is
 * given its name, but not while that is written to the disk.
 *
 * Returns 0 on success, also if nothing was done; -1 with an error reported.
 */
int virStorageTPMScanAddSidecar(virStoragePoolDef *pool,
                                const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
