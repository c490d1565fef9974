/*
 * storage_tpm_store.h: make, replace and remove the volumes of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The operations that every kind of store has. storage_tpm_store.c tells how the only
 * one so far, a directory, does them.
 */

#pragma once

#include "storage_conf.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_refresh.h"

/* What can be done with a volume, where it is stored. Nobody else opens a file of a pool
 * to change it. Every operation returns 0 on success and -1 with an error reported, unless
 * something else is said. None of them needs the lock of the pool, and none may be called
 * from the event loop. */
typedef struct _virStorageTPMStore virStorageTPMStore;
struct _virStorageTPMStore {
    /* Opens a volume, by its path, under its lock, which lasts until the descriptor is
     * closed. The names of pool and volume are for error messages. Returns the descriptor;
     * VIR_ERR_RESOURCE_BUSY if the volume is in use. */
    int (*open)(const char *path,
                const char *pool,
                const char *vol);

    /* Reads a volume, also one that is in use: then it takes a copy that two successive
     * reads agree on and that is whole TPM state. Waits up to 5 seconds for one. Returns
     * the bytes; NULL with VIR_ERR_RESOURCE_BUSY if the guest writes to its TPM all the
     * time. */
    virStorageTPMBytes *(*read)(const char *path,
                                const char *pool,
                                const char *vol);

    /* Makes a volume that holds @bytes, or a blank one if they are NULL, and is described
     * as @vol. VIR_ERR_STORAGE_VOL_EXIST if there is one of that name. */
    int (*create)(virStoragePoolDef *pool,
                  const virStorageVolDef *vol,
                  const virStorageTPMBytes *bytes);

    /* Replaces what a volume holds with @bytes. @lock is what open() returned; @before is
     * how the volume is described, NULL if it is not, and @next how it is to be described,
     * NULL if as before. @replaced is called with @opaque once the volume is replaced,
     * while it is locked and so cannot be removed. */
    int (*replace)(virStoragePoolDef *pool,
                   const virStorageVolDef *vol,
                   int lock,
                   const virStorageTPMBytes *bytes,
                   const virStorageVolDef *before,
                   const virStorageVolDef *next,
                   void (*replaced)(void *opaque),
                   void *opaque);

    /* Makes a volume blank, and overwrites what it held by a virStorageVolWipeAlgorithm. */
    int (*blank)(virStoragePoolDef *pool,
                 const virStorageVolDef *vol,
                 unsigned int algorithm);

    /* Removes a volume and its description. With @overwrite what it held is overwritten
     * with zeros. */
    int (*remove)(const virStoragePoolDef *pool,
                  const virStorageVolDef *vol,
                  bool overwrite);

    /* Fills in what a volume is now: see virStorageTPMDescribe(). */
    int (*describe)(virStoragePoolDef *pool,
                    virStorageVolDef *vol);

    /* Finds the volumes of a pool: see virStorageTPMScan(). */
    int (*scan)(virStorageTPMRefresh *refresh,
                virStoragePoolDef *pool);
};

/**
 * virStorageTPMStoreFor:
 * @vol: a volume of a tpm pool
 *
 * Returns the operations of the store that the volume is in.
 */
const virStorageTPMStore *virStorageTPMStoreFor(const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMStoreForPool:
 * @pool: definition of a tpm pool
 *
 * Returns the operations of the store that the pool's volumes are in.
 */
const virStorageTPMStore *virStorageTPMStoreForPool(const virStoragePoolDef *pool)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMStoreUnlink:
 * @pool: definition of the pool
 * @vol: a volume of it, whose lock the caller holds
 *
 * Takes away the name of a volume and then that of its sidecar, for remove(): a crash in
 * between leaves a sidecar without a volume, which does no harm. The sidecar is locked
 * before, so that nobody makes a volume of that name in between; one that is locked
 * already, or cannot be removed, is left, with a warning in the log.
 *
 * Returns 0 on success, -1 with an error reported and both as they were.
 */
int virStorageTPMStoreUnlink(const virStoragePoolDef *pool,
                             const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
