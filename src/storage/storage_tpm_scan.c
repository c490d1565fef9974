/*
 * storage_tpm_scan.c: find the volumes in the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads the header of each file that has the name of a volume, and nothing of the
 * sidecars: a pool of many volumes has as many of them. Abandoned temporaries are
 * removed on the way, and TPM state that was put there by hand gets an identity. No file
 * can make this fail.
 */

#include <config.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_describe.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_name.h"
#include "storage_tpm_refresh.h"
#include "storage_tpm_scan.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_sweep.h"
#include "storage_tpm_temp.h"
#include "storage_vol_tpm_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virhash.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_scan");

/* How long a refresh gives sidecars to volumes that have none, in microseconds: each
 * of them has to be on the disk. The others get theirs by the next refresh. */
#define VIR_STORAGE_TPM_SCAN_ADD_TIME (1000 * 1000)

/* Volumes and sidecars that a refresh has seen without the other one, by the name
 * of the volume. */
typedef enum {
    VIR_STORAGE_TPM_SCAN_ALONE_VOLUME = 1,
    VIR_STORAGE_TPM_SCAN_ALONE_SIDECAR,
} virStorageTPMScanAlone;


/* A file that cannot be read is left out; it does not fail the pool. Sets @holdsState
 * to whether it is TPM state. Returns 1 if it is a volume, 0 if not, -1 if the pool
 * cannot take it. */
static int
virStorageTPMScanFile(virStorageTPMRefresh *refresh,
                      const virStoragePoolDef *def,
                      const char *name,
                      bool *holdsState)
{
    g_autoptr(virStorageVolDef) vol = virStorageTPMDescribeNew(def, name);
    virTPMState state;

    *holdsState = false;

    if (virStorageTPMDescribeFromFile(def, vol, &state, NULL) < 0) {
        virResetLastError();

        /* such as lost+found */
        if (virFileIsDir(vol->target.path))
            return 0;

        VIR_WARN("ignoring file '%s' in tpm pool '%s', which cannot be read as a regular file",
                 vol->target.path, def->name);
        return 0;
    }

    *holdsState = state.kind == VIR_TPM_STATE_LINEAR;
    return virStorageTPMRefreshAddVol(refresh, &vol) < 0 ? -1 : 1;
}


/* Notes a volume or sidecar; two that belong together are forgotten. */
static void
virStorageTPMScanNoteAlone(GHashTable *alone,
                           const char *name,
                           virStorageTPMScanAlone what)
{
    gpointer seen = g_hash_table_lookup(alone, name);

    if (seen && GPOINTER_TO_INT(seen) != what)
        g_hash_table_remove(alone, name);
    else
        g_hash_table_insert(alone, g_strdup(name), GINT_TO_POINTER(what));
}


/* Locks and probes a volume that may need a sidecar. Returns 1 if it holds TPM state,
 * 0 if not or if it is in use: it is described when it no longer is; -1 with an error
 * reported. */
static int
virStorageTPMScanProbe(const char *path,
                       int *lock,
                       virTPMState *state)
{
    if (virStorageVolTPMUseLock(path, VIR_OFD_LOCK_NO_WAIT, lock) < 0)
        return 0;

    if (virTPMStateProbe(*lock, path, state) < 0)
        return -1;

    return state->kind == VIR_TPM_STATE_LINEAR;
}


/* Gives a complete sidecar its name, if the volume still is what @before tells and has
 * none. Returns 1 if so, 0 if not, -1 with an error reported. */
static int
virStorageTPMScanNameSidecar(virStorageTPMTemp *temp,
                             const char *sidecar,
                             const char *path,
                             const virTPMState *before)
{
    VIR_AUTOCLOSE lock = -1;
    virTPMState state;
    int rc;

    if ((rc = virStorageTPMScanProbe(path, &lock, &state)) <= 0)
        return rc;

    if (state.version != before->version)
        return 0;

    if (virStorageTPMTempRename(temp->path, sidecar) < 0) {
        if (errno == EEXIST)
            return 0;
        virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                             temp->path, sidecar);
        return -1;
    }

    virStorageTPMTempKeep(temp);
    return 1;
}


int
virStorageTPMScanAddSidecar(virStoragePoolDef *pool,
                            const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s", pool->target.path, name);
    g_autofree char *sidecar = virStorageTPMNameSidecarPath(pool, name);
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autoptr(virStorageVolDef) def = NULL;
    VIR_AUTOCLOSE lock = -1;
    virTPMState state;
    int rc;

    if ((rc = virStorageTPMScanProbe(path, &lock, &state)) <= 0)
        return rc;

    /* a guest that starts meanwhile must not wait for the disk */
    VIR_FORCE_CLOSE(lock);

    if (!(def = virStorageTPMSidecarNew(name, &state)) ||
        !(temp = virStorageTPMSidecarWrite(pool, def, NULL, NULL)))
        return -1;

    if ((rc = virStorageTPMScanNameSidecar(temp, sidecar, path, &state)) <= 0)
        return rc;

    virStorageTPMDirSync(pool->target.path);
    VIR_INFO("TPM volume '%s' of pool '%s' had no description, and got '%s' with a new identity",
             name, pool->name, sidecar);
    return 0;
}


/* Gives an identity to TPM state that was put into the pool by hand. A pool that
 * cannot be written to can be used. */
static void
virStorageTPMScanAddSidecars(virStoragePoolDef *def,
                             GHashTable *alone)
{
    const gint64 until = g_get_monotonic_time() + VIR_STORAGE_TPM_SCAN_ADD_TIME;
    GHashTableIter iter;
    gpointer name;
    gpointer what;

    g_hash_table_iter_init(&iter, alone);

    while (g_hash_table_iter_next(&iter, &name, &what) &&
           g_get_monotonic_time() < until) {
        if (GPOINTER_TO_INT(what) != VIR_STORAGE_TPM_SCAN_ALONE_VOLUME ||
            virStorageTPMScanAddSidecar(def, name) == 0)
            continue;

        VIR_WARN("cannot give TPM volume '%s' of pool '%s' a description '%s/%s%s': %s",
                 (const char *)name, def->name, def->target.path, (const char *)name,
                 VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX, virGetLastErrorMessage());
        virResetLastError();
        return;
    }
}


/* One file of the pool's directory. Returns as virStorageTPMScanFile(). */
static int
virStorageTPMScanEntry(virStorageTPMRefresh *refresh,
                       const virStoragePoolDef *def,
                       const char *name,
                       GHashTable *alone)
{
    g_autofree char *sidecarOf = NULL;
    bool holdsState;
    int rc = 0;

    virStorageTPMSweep(def->target.path, name);

    if (virStorageTPMNameIsVolume(name)) {
        rc = virStorageTPMScanFile(refresh, def, name, &holdsState);
        if (holdsState)
            virStorageTPMScanNoteAlone(alone, name, VIR_STORAGE_TPM_SCAN_ALONE_VOLUME);
    } else if ((sidecarOf = virStorageTPMNameOfSidecar(name))) {
        virStorageTPMScanNoteAlone(alone, sidecarOf, VIR_STORAGE_TPM_SCAN_ALONE_SIDECAR);
    }

    return rc;
}


/* Asks for the volumes that the directory did not list: it may leave some out while
 * files are renamed in it. */
static int
virStorageTPMScanMissing(virStorageTPMRefresh *refresh,
                         const virStoragePoolDef *def,
                         GHashTable *alone)
{
    g_auto(GStrv) names = virStorageTPMRefreshGetMissing(refresh);
    size_t i;

    for (i = 0; names[i]; i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", def->target.path, names[i]);

        if (virFileExists(path) &&
            virStorageTPMScanEntry(refresh, def, names[i], alone) < 0)
            return -1;
    }

    return 0;
}


/* Reads the directory of a pool, which is not locked: each volume is brought up to
 * date by itself. @def is a copy of the pool's definition. */
int
virStorageTPMScan(virStorageTPMRefresh *refresh,
                  virStoragePoolDef *def)
{
    g_autoptr(GHashTable) alone = virHashNew(NULL);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    bool volumes = false;
    int added;
    int rc;

    if (virDirOpen(&dir, def->target.path) < 0)
        return -1;

    while ((rc = virDirRead(dir, &ent, def->target.path)) > 0) {
        if ((added = virStorageTPMScanEntry(refresh, def, ent->d_name, alone)) < 0)
            return -1;
        volumes = volumes || added > 0;
    }

    if (rc < 0 || virStorageTPMScanMissing(refresh, def, alone) < 0)
        return -1;

    virStorageTPMScanAddSidecars(def, alone);

    if (volumes)
        virStorageTPMDirRemember(def);

    return virStorageTPMDirReadInfo(def);
}
