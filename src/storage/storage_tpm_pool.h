/*
 * storage_tpm_pool.h: keep other pools out of the directories of tpm pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "virstorageobj.h"

/**
 * virStorageTPMPoolCheckDefine:
 * @pools: all pools
 * @def: definition of a pool that is about to be one of them; gets its default
 *       target, see virStoragePoolTPMDefSetTarget()
 *
 * The volumes of a tpm pool are locked and published by that pool alone. So its
 * directory must not be that of another pool, whatever its type. Directories
 * are compared by name, and where they exist by what the name stands for: a
 * symbolic link or a bind mount is no other directory.
 *
 * Returns 0 if there is no such pool, -1 with VIR_ERR_OPERATION_FAILED reported
 * otherwise.
 */
int virStorageTPMPoolCheckDefine(virStoragePoolObjList *pools,
                                 virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMPoolCheckStart:
 * @pools: all pools
 * @obj: a pool that is marked as starting; it is unlocked meanwhile
 *
 * As virStorageTPMPoolCheckDefine(), among the pools that are active or
 * starting: links and mounts may have changed since the pools were defined.
 *
 * Returns 0 if there is no such pool, -1 with VIR_ERR_OPERATION_FAILED reported
 * otherwise.
 */
int virStorageTPMPoolCheckStart(virStoragePoolObjList *pools,
                                virStoragePoolObj *obj)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMPoolCheckWrite:
 * @pools: all pools
 * @obj: pool of @vol; it is unlocked meanwhile
 * @vol: a volume that is about to be written to; it is marked as in use meanwhile
 *
 * A volume of a pool of another type can be a file of a tpm pool, by a symbolic or
 * hard link: it must not be written to by a pool that knows neither its lock nor what
 * it holds. What counts is which file it is, symbolic links followed: whether that is in
 * the directory of a tpm pool, active or not. TPM state in any other place must not
 * be locked, as it is while a guest uses it.
 *
 * Volumes of tpm pools, and those that are no regular file of this host, pass.
 *
 * Returns 0 if @vol may be written to, -1 with an error reported otherwise:
 * VIR_ERR_OPERATION_INVALID, naming the tpm pool, if it is a file of one;
 * VIR_ERR_RESOURCE_BUSY if it holds TPM state that is in use.
 */
int virStorageTPMPoolCheckWrite(virStoragePoolObjList *pools,
                                virStoragePoolObj *obj,
                                virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
