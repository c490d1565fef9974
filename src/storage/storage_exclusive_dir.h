/*
 * storage_exclusive_dir.h: keep other pools out of a directory that a pool needs for itself
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the storage driver calls for pools of every type: a tpm pool requires a directory
 * of its own, so that no other pool may have it, whatever that pool's type.
 */

#pragma once

#include "storage_backend.h"
#include "virstorageobj.h"

/**
 * virStorageExclusiveDirCheckDefine:
 * @pools: all pools
 * @def: definition of a pool that is about to be one of them; gets its default
 *       target, see virStoragePoolTPMDefSetTarget()
 *
 * The directory of a tpm pool must not be that of another pool. Directories are
 * compared by name, and where they exist by what the name stands for: a symbolic
 * link or a bind mount is no other directory.
 *
 * Returns 0 if there is no such pool, -1 with VIR_ERR_OPERATION_FAILED reported
 * otherwise.
 */
int virStorageExclusiveDirCheckDefine(virStoragePoolObjList *pools,
                                      virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageExclusiveDirCheckStart:
 * @pools: all pools
 * @obj: a pool that is marked as starting, or is found active when the driver starts;
 *       it is unlocked meanwhile
 *
 * As virStorageExclusiveDirCheckDefine(), among the pools that are active or
 * starting: links and mounts may have changed since the pools were defined.
 *
 * Returns 0 if there is no such pool, -1 with VIR_ERR_OPERATION_FAILED reported
 * otherwise.
 */
int virStorageExclusiveDirCheckStart(virStoragePoolObjList *pools,
                                     virStoragePoolObj *obj)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageExclusiveDirBuildPool:
 * @pools: all pools
 * @backend: the backend of @obj
 * @obj: a pool that is marked as starting; it is unlocked meanwhile
 * @flags: flags of buildPool()
 *
 * Builds the pool, if its type is one that is built and
 * virStorageExclusiveDirCheckStart() allows it.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageExclusiveDirBuildPool(virStoragePoolObjList *pools,
                                    virStorageBackend *backend,
                                    virStoragePoolObj *obj,
                                    unsigned int flags)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageExclusiveDirStartPool:
 * @pools: all pools
 * @backend: the backend of @obj
 * @obj: a pool that is marked as starting; it is unlocked meanwhile
 *
 * Starts the pool if virStorageExclusiveDirCheckStart() allows it. Mounting may make
 * its target the directory of another pool: it is checked again then, and stopped.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageExclusiveDirStartPool(virStoragePoolObjList *pools,
                                    virStorageBackend *backend,
                                    virStoragePoolObj *obj)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageExclusiveDirCheckWrite:
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
int virStorageExclusiveDirCheckWrite(virStoragePoolObjList *pools,
                                     virStoragePoolObj *obj,
                                     virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
