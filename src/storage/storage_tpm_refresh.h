/*
 * storage_tpm_refresh.h: use a tpm pool while its directory is read
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file system does not answer while its server is away, and whoever waits for
 * it cannot be stopped. So a pool is unlocked while its files are read, and others
 * use it meanwhile:
 *
 * - what reads the directory counts as a job of the pool, which is therefore not
 *   stopped, deleted, undefined or refreshed again; its definition stays;
 * - a volume's definition is changed under the lock of the pool only, and not while
 *   a job has it in use;
 * - a name that is given to a volume or taken from it meanwhile is left alone, for
 *   what was read may be older.
 */

#pragma once

#include "virstorageobj.h"

typedef struct _virStorageTPMRefresh virStorageTPMRefresh;

/**
 * virStorageTPMRefreshStart:
 * @pool: a pool that is active or starting, locked
 *
 * To be called before the pool is unlocked to read its directory.
 *
 * Returns the refresh, or NULL with an error reported.
 */
virStorageTPMRefresh *virStorageTPMRefreshStart(virStoragePoolObj *pool)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMRefreshAddVol:
 * @refresh: a refresh, whose pool is not locked
 * @vol: a volume whose file was read; set to NULL if the pool takes it
 *
 * Adds the volume to the pool, or brings the definition that the pool has of it up
 * to date.
 *
 * Returns 0 on success, -1 if the pool cannot take it.
 */
int virStorageTPMRefreshAddVol(virStorageTPMRefresh *refresh,
                               virStorageVolDef **vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMRefreshGetMissing:
 * @refresh: a refresh that has read all of the directory, whose pool is not locked
 *
 * Returns the names of the volumes of the pool whose file was not read, but not of those
 * that are in use, being made, or to be skipped, in a list that ends in NULL and is to be
 * freed with g_strfreev().
 */
char **virStorageTPMRefreshGetMissing(virStorageTPMRefresh *refresh)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMRefreshRemoveMissing:
 * @refresh: a refresh that has read all of the directory, whose pool is locked
 *
 * Removes the volumes from the pool that have no file any more.
 */
void virStorageTPMRefreshRemoveMissing(virStorageTPMRefresh *refresh)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMRefreshEnd:
 * @refresh: a refresh, whose pool is locked; it is freed
 */
void virStorageTPMRefreshEnd(virStorageTPMRefresh *refresh)
    ATTRIBUTE_NONNULL(1);

/* The lookup of a volume that the pool does not know, which reads its files while the
 * pool is unlocked. */
typedef struct _virStorageTPMRefreshLookup virStorageTPMRefreshLookup;
struct _virStorageTPMRefreshLookup {
    virStoragePoolObj *pool;
    const char *name;
    bool changed; /* others have added or removed a volume of that name meanwhile */
};

/**
 * virStorageTPMRefreshLookupStart:
 * @lookup: pool and name, until the lookup has ended; the pool is locked
 *
 * To be called before the pool is unlocked.
 */
void virStorageTPMRefreshLookupStart(virStorageTPMRefreshLookup *lookup)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMRefreshLookupEnd:
 * @lookup: a lookup that was started, whose pool is locked again
 *
 * From here on 'changed' is not written to.
 */
void virStorageTPMRefreshLookupEnd(virStorageTPMRefreshLookup *lookup)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMRefreshSkip:
 * @pool: a pool, locked
 * @name: name of a volume that is added to the pool or removed from it
 *
 * Keeps a refresh that is running from adding or removing a volume of that name, and
 * a lookup from adding it.
 */
void virStorageTPMRefreshSkip(virStoragePoolObj *pool,
                              const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMRefreshWait:
 * @pool: a tpm pool, locked
 *
 * Waits until the pool is not being refreshed, for 5 seconds at most; the pool is
 * unlocked meanwhile. A refresh takes less unless a file system does not answer.
 *
 * Returns whether the pool was unlocked: it may be undefined since.
 */
bool virStorageTPMRefreshWait(virStoragePoolObj *pool)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
