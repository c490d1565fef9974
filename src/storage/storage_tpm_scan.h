/*
 * storage_tpm_scan.h: find the volumes in the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
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
