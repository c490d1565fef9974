/*
 * storage_tpm_refresh.c: use a tpm pool while its directory is read
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Notes which pools are being refreshed, and which volumes are added or removed
 * meanwhile, so that what was read before that does not undo it. storage_tpm_scan.c is
 * what reads the directory.
 */

#include <config.h>

#include "storage_tpm_refresh.h"
#include "virerror.h"
#include "virhash.h"
#include "virthread.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* How long others wait for a refresh, in milliseconds. */
#define VIR_STORAGE_TPM_REFRESH_WAIT (5 * 1000)

struct _virStorageTPMRefresh {
    virStoragePoolObj *pool;

    /* names of volumes; under the lock of the pool */
    GHashTable *seen;    /* whose file was read */
    GHashTable *skipped; /* which others have added or removed */
};

/* The refreshes and lookups that are running. The lock of a pool comes before the
 * mutex. */
static GPtrArray *virStorageTPMRefreshes;
static GPtrArray *virStorageTPMRefreshLookups;
static virMutex virStorageTPMRefreshMutex = VIR_MUTEX_INITIALIZER;
static virCond virStorageTPMRefreshCond;

static int
virStorageTPMRefreshesOnceInit(void)
{
    if (virCondInit(&virStorageTPMRefreshCond) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize condition variable"));
        return -1;
    }

    virStorageTPMRefreshes = g_ptr_array_new();
    virStorageTPMRefreshLookups = g_ptr_array_new();
    return 0;
}

VIR_ONCE_GLOBAL_INIT(virStorageTPMRefreshes);


/* Returns the refresh of a pool that is running, or NULL. The caller holds the
 * mutex. */
static virStorageTPMRefresh *
virStorageTPMRefreshFind(virStoragePoolObj *pool)
{
    size_t i;

    for (i = 0; i < virStorageTPMRefreshes->len; i++) {
        virStorageTPMRefresh *refresh = g_ptr_array_index(virStorageTPMRefreshes, i);

        if (refresh->pool == pool)
            return refresh;
    }

    return NULL;
}


virStorageTPMRefresh *
virStorageTPMRefreshStart(virStoragePoolObj *pool)
{
    virStorageTPMRefresh *refresh;

    if (virStorageTPMRefreshesInitialize() < 0)
        return NULL;

    refresh = g_new0(virStorageTPMRefresh, 1);
    refresh->pool = pool;
    refresh->seen = virHashNew(NULL);
    refresh->skipped = virHashNew(NULL);
    virStoragePoolObjIncrAsyncjobs(pool);

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
        g_ptr_array_add(virStorageTPMRefreshes, refresh);
    }

    return refresh;
}


int
virStorageTPMRefreshAddVol(virStorageTPMRefresh *refresh,
                           virStorageVolDef **vol)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(refresh->pool);
    virStorageVolDef *known = virStorageVolDefFindByName(refresh->pool, (*vol)->name);
    virStorageVolDef old;

    g_hash_table_add(refresh->seen, g_strdup((*vol)->name));

    if (g_hash_table_contains(refresh->skipped, (*vol)->name))
        return 0;

    if (!known) {
        if (virStoragePoolObjAddVol(refresh->pool, *vol) < 0)
            return -1;
        *vol = NULL;
        return 0;
    }

    if (known->in_use || known->building)
        return 0;

    /* the pool finds it by name, key and path, which are the same */
    old = *known;
    *known = **vol;
    **vol = old;
    return 0;
}


typedef struct _virStorageTPMRefreshMissing virStorageTPMRefreshMissing;
struct _virStorageTPMRefreshMissing {
    const virStorageTPMRefresh *refresh;
    GPtrArray *vols;
};

static int
virStorageTPMRefreshNoteMissing(virStorageVolDef *vol,
                                const void *opaque)
{
    const virStorageTPMRefreshMissing *missing = opaque;

    if (!vol->in_use && !vol->building &&
        !g_hash_table_contains(missing->refresh->seen, vol->name) &&
        !g_hash_table_contains(missing->refresh->skipped, vol->name))
        g_ptr_array_add(missing->vols, vol);

    return 0;
}


char **
virStorageTPMRefreshGetMissing(virStorageTPMRefresh *refresh)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(refresh->pool);
    g_autoptr(GPtrArray) vols = g_ptr_array_new();
    virStorageTPMRefreshMissing missing = { .refresh = refresh, .vols = vols };
    char **names;
    size_t i;

    virStoragePoolObjForEachVolume(refresh->pool, virStorageTPMRefreshNoteMissing, &missing);

    names = g_new0(char *, vols->len + 1);
    for (i = 0; i < vols->len; i++)
        names[i] = g_strdup(((virStorageVolDef *)g_ptr_array_index(vols, i))->name);

    return names;
}


void
virStorageTPMRefreshRemoveMissing(virStorageTPMRefresh *refresh)
{
    g_autoptr(GPtrArray) vols = g_ptr_array_new();
    virStorageTPMRefreshMissing missing = { .refresh = refresh, .vols = vols };
    size_t i;

    virStoragePoolObjForEachVolume(refresh->pool, virStorageTPMRefreshNoteMissing, &missing);

    for (i = 0; i < vols->len; i++)
        virStoragePoolObjRemoveVol(refresh->pool, g_ptr_array_index(vols, i));
}


void
virStorageTPMRefreshEnd(virStorageTPMRefresh *refresh)
{
    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
        g_ptr_array_remove(virStorageTPMRefreshes, refresh);
        virCondBroadcast(&virStorageTPMRefreshCond);
    }

    virStoragePoolObjDecrAsyncjobs(refresh->pool);
    g_hash_table_unref(refresh->seen);
    g_hash_table_unref(refresh->skipped);
    g_free(refresh);
}


void
virStorageTPMRefreshLookupStart(virStorageTPMRefreshLookup *lookup)
{
    if (virStorageTPMRefreshesInitialize() < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
        g_ptr_array_add(virStorageTPMRefreshLookups, lookup);
    }
}


void
virStorageTPMRefreshLookupEnd(virStorageTPMRefreshLookup *lookup)
{
    if (virStorageTPMRefreshesInitialize() < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
        g_ptr_array_remove(virStorageTPMRefreshLookups, lookup);
    }
}


void
virStorageTPMRefreshSkip(virStoragePoolObj *pool,
                         const char *name)
{
    virStorageTPMRefresh *refresh;
    size_t i;

    if (virStorageTPMRefreshesInitialize() < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
        if ((refresh = virStorageTPMRefreshFind(pool)))
            g_hash_table_add(refresh->skipped, g_strdup(name));

        for (i = 0; i < virStorageTPMRefreshLookups->len; i++) {
            virStorageTPMRefreshLookup *lookup = g_ptr_array_index(virStorageTPMRefreshLookups, i);

            if (lookup->pool == pool && STREQ(lookup->name, name))
                lookup->changed = true;
        }
    }
}


/* Returns whether the refresh of a pool, if there is one, has ended before @until,
 * in milliseconds since the epoch. */
static bool
virStorageTPMRefreshWaitUntil(virStoragePoolObj *pool,
                              unsigned long long until)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMRefreshMutex);

    while (virStorageTPMRefreshFind(pool)) {
        if (virCondWaitUntil(&virStorageTPMRefreshCond, &virStorageTPMRefreshMutex, until) < 0)
            return false;
    }

    return true;
}


bool
virStorageTPMRefreshWait(virStoragePoolObj *pool)
{
    unsigned long long until;
    bool running = true;
    bool waited = false;

    if (virStorageTPMRefreshesInitialize() < 0 || virTimeMillisNow(&until) < 0)
        return false;

    until += VIR_STORAGE_TPM_REFRESH_WAIT;

    while (running) {
        VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMRefreshMutex) {
            running = virStorageTPMRefreshFind(pool);
        }
        if (!running)
            return waited;

        virObjectUnlock(pool);
        running = virStorageTPMRefreshWaitUntil(pool, until);
        virObjectLock(pool);
        waited = true;
    }

    return waited;
}
