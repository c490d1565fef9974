/*
 * storage_backend_tpm.c: storage backend for the state of emulated TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What each call of the storage driver does for a tpm pool, in the order in which it is
 * done. What changes a volume is done by the store, storage_tpm_store.c, and what opens a TPM
 * by libvirt_tpmhelper, see storage_tpm_helper.c.
 */

#include <config.h>

#include <fcntl.h>

#include "storage_backend_tpm.h"
#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_check.h"
#include "storage_tpm_copy.h"
#include "storage_tpm_describe.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_refresh.h"
#include "storage_tpm_scan.h"
#include "storage_tpm_scratch.h"
#include "storage_tpm_setup.h"
#include "storage_tpm_store.h"
#include "storage_tpm_transfer.h"
#include "storage_tpm_verify.h"
#include "storage_util.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static int
virStorageBackendTPMCheckPool(virStoragePoolObj *pool,
                              bool *active)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);

    *active = virFileIsDir(def->target.path);
    return 0;
}


static int
virStorageBackendTPMBuildPool(virStoragePoolObj *pool,
                              unsigned int flags)
{
    int ret;

    virCheckFlags(0, -1);

    if (virStorageTPMDirCheckPath(virStoragePoolObjGetDef(pool)) < 0)
        return -1;

    /* the pool is starting: its definition stays */
    virObjectUnlock(pool);
    ret = virStorageBackendBuildLocal(pool);
    virObjectLock(pool);

    if (ret == 0)
        virStorageTPMDirForget(virStoragePoolObjGetDef(pool));
    return ret;
}


static int
virStorageBackendTPMStartPool(virStoragePoolObj *pool)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    int ret;

    if (virStorageTPMDirCheckPath(def) < 0)
        return -1;

    /* the pool is starting: its definition stays */
    virObjectUnlock(pool);
    ret = virStorageTPMDirCheck(def);
    virObjectLock(pool);

    if (ret == 0)
        virStorageTPMUploadNotePool(def);
    return ret;
}


static int
virStorageBackendTPMDeletePool(virStoragePoolObj *pool,
                               unsigned int flags)
{
    int ret;

    virCheckFlags(0, -1);

    /* marked as starting: nobody starts, deletes or redefines it while it is unlocked */
    virStoragePoolObjSetStarting(pool, true);
    virObjectUnlock(pool);

    ret = virStorageBackendDeleteLocal(pool, flags);

    virObjectLock(pool);
    virStoragePoolObjSetStarting(pool, false);

    return ret;
}


/* Refreshes the pool, which is unlocked while its directory is read: see
 * storage_tpm_refresh.h. */
static int
virStorageBackendTPMRefreshPool(virStoragePoolObj *pool)
{
    g_autoptr(virStoragePoolDef) now = virStorageTPMDirCopyLocation(virStoragePoolObjGetDef(pool));
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    virStorageTPMRefresh *refresh = virStorageTPMRefreshStart(pool);
    int ret;

    if (!refresh)
        return -1;

    virObjectUnlock(pool);
    ret = virStorageTPMStoreForPool(now)->scan(refresh, now);
    virObjectLock(pool);

    if (ret == 0) {
        virStorageTPMRefreshRemoveMissing(refresh);
        def->capacity = now->capacity;
        def->available = now->available;
        def->allocation = now->allocation;
        def->target.perms.mode = now->target.perms.mode;
        def->target.perms.uid = now->target.perms.uid;
        def->target.perms.gid = now->target.perms.gid;
    }

    virStorageTPMRefreshEnd(refresh);
    return ret;
}


/* What is learned when a TPM is made is not taken from the user, but for a
 * blank volume, which a state is to be brought to. */
static int
virStorageBackendTPMPrepareTPM(virStorageVolDef *vol)
{
    virStorageVolTPMDef *tpm;

    if (!vol->tpm)
        vol->tpm = g_new0(virStorageVolTPMDef, 1);
    tpm = vol->tpm;

    if (tpm->manufacture != VIR_TRISTATE_BOOL_NO)
        virStorageVolTPMDefClearLearned(tpm);

    if (!tpm->hasuuid && virUUIDGenerate(tpm->uuid) < 0)
        return -1;

    tpm->hasuuid = true;
    return 0;
}


static int
virStorageBackendTPMCreateVol(virStoragePoolObj *pool,
                              virStorageVolDef *vol)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(pool);

    if (virStorageVolTPMNameCheck(vol->name) < 0 ||
        virStorageTPMCheckTarget(vol) < 0 ||
        virStorageBackendTPMPrepareTPM(vol) < 0)
        return -1;

    /* buildVol checks whether the file exists: the pool is unlocked there. */
    vol->type = VIR_STORAGE_VOL_FILE;
    g_free(vol->target.path);
    vol->target.path = g_strdup_printf("%s/%s", def->target.path, vol->name);
    g_free(vol->key);
    vol->key = g_strdup(vol->target.path);

    vol->target.allocation = 0;
    if (vol->tpm->manufacture != VIR_TRISTATE_BOOL_NO)
        vol->target.allocation = VIR_TPM_STATE_ROOM;

    virStorageTPMRefreshSkip(pool, vol->name);
    return 0;
}


/* Sets @bytes to what @vol is to hold, NULL for a blank one. */
static int
virStorageBackendTPMMakeBytes(virStoragePoolObj *pool,
                              virStorageVolDef *vol,
                              const virStorageVolDef *origvol,
                              virStorageTPMBytes **bytes)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);

    if (origvol && vol->tpm->identity != VIR_STORAGE_VOL_TPM_IDENTITY_NEW) {
        *bytes = virStorageTPMCopy(def, vol, origvol);
        return *bytes ? 0 : -1;
    }

    if (origvol && virStorageTPMCopyParameters(vol, origvol) < 0)
        return -1;

    vol->tpm->version = virStorageVolTPMVersionOrDefault(vol->tpm->version);

    if (vol->tpm->manufacture == VIR_TRISTATE_BOOL_NO)
        return 0;

    *bytes = virStorageTPMManufacture(def, vol);
    return *bytes ? 0 : -1;
}


/* A volume that the pool does not know is seen before a TPM is made in vain; one
 * that comes later is seen when the new one is published. */
static int
virStorageBackendTPMCheckNew(const virStorageVolDef *vol)
{
    struct stat sb;

    if (g_lstat(vol->target.path, &sb) < 0)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume target path '%1$s' already exists"), vol->target.path);
    return -1;
}


/* A volume of the pool has <tpm> only while it is made: after that it is read from the
 * sidecar whenever the volume is looked at, as a pool of many volumes does not keep that
 * in memory. */
static void
virStorageBackendTPMReleaseTPM(virStoragePoolObj *pool,
                               const char *name)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(pool);
    virStorageVolDef *known = virStorageVolDefFindByName(pool, name);

    if (known)
        g_clear_pointer(&known->tpm, virStorageVolTPMDefFree);
}


/* Makes @vol of @origvol, or a new TPM if that is NULL. @vol shares its
 * pointers with the pool's own definition, which others may look at meanwhile:
 * what is learned goes into a copy, and from there by the sidecar. */
static int
virStorageBackendTPMMakeVol(virStoragePoolObj *pool,
                            virStorageVolDef *vol,
                            const virStorageVolDef *origvol)
{
    g_autoptr(virStorageVolTPMDef) tpm = virStorageVolTPMDefCopy(vol->tpm);
    g_autoptr(virStorageTPMBytes) bytes = NULL;

    vol->tpm = tpm;

    if (virStorageBackendTPMCheckNew(vol) < 0 ||
        virStorageBackendTPMMakeBytes(pool, vol, origvol, &bytes) < 0)
        return -1;

    /* only a parameter of vol-create-from, not stored */
    tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_DEFAULT;

    if (virStorageTPMStoreFor(vol)->create(virStoragePoolObjGetDef(pool), vol, bytes) < 0)
        return -1;

    virStorageBackendTPMReleaseTPM(pool, vol->name);
    return 0;
}


static int
virStorageBackendTPMBuildVol(virStoragePoolObj *pool,
                             virStorageVolDef *vol,
                             unsigned int flags)
{
    /* virt-manager asks for preallocated metadata where it can */
    virCheckFlags(VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA, -1);

    if (vol->tpm->identity) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'identity' of TPM volume '%1$s' is only supported by vol-create-from"),
                       vol->name);
        return -1;
    }

    return virStorageBackendTPMMakeVol(pool, vol, NULL);
}


static int
virStorageBackendTPMBuildVolFrom(virStoragePoolObj *pool,
                                 virStorageVolDef *vol,
                                 virStorageVolDef *origvol,
                                 unsigned int flags)
{
    virCheckFlags(VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA, -1);

    if (vol->tpm->manufacture == VIR_TRISTATE_BOOL_NO) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("manufacture='no' of TPM volume '%1$s' is only supported by vol-create"),
                       vol->name);
        return -1;
    }

    if (vol->tpm->identity == VIR_STORAGE_VOL_TPM_IDENTITY_NEW && !origvol->target.srcpool) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("identity='new' of TPM volume '%1$s' requires a volume of a tpm pool as source"),
                       vol->name);
        return -1;
    }

    return virStorageBackendTPMMakeVol(pool, vol, origvol);
}


/* A definition of a volume that is being made or removed: its file tells nothing. */
static virStorageVolDef *
virStorageBackendTPMCopyVol(virStoragePoolDef *def,
                            virStorageVolDef *vol)
{
    g_autofree char *xml = virStorageVolDefFormat(def, vol);
    virStorageVolDef *copy = NULL;

    if (!xml || !(copy = virStorageVolDefParse(def, xml, NULL, VIR_VOL_XML_PARSE_OPT_CAPACITY)))
        return NULL;

    copy->building = true;
    copy->target.path = g_strdup(vol->target.path);
    copy->target.physical = vol->target.physical;
    return copy;
}


static virStorageVolDef *
virStorageBackendTPMDescribeVol(virStoragePoolObj *pool,
                                virStorageVolDef *vol)
{
    g_autoptr(virStoragePoolDef) def = virStorageTPMDirCopyLocation(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) now = NULL;
    int rc;

    /* There is no file to look at while a volume is made, which has a <tpm> until then,
     * or removed, which is in use then. Once it is made there is, also if the driver has
     * not noticed yet. */
    if (vol->building && (vol->tpm || vol->in_use > 0))
        return virStorageBackendTPMCopyVol(def, vol);

    now = virStorageTPMDescribeNew(def, vol->name);

    virObjectUnlock(pool);
    rc = virStorageTPMStoreFor(now)->describe(def, now);
    virObjectLock(pool);

    return rc < 0 ? NULL : g_steal_pointer(&now);
}


/* A volume that was put into the directory by hand or by another host. */
static virStorageVolDef *
virStorageBackendTPMFindVol(virStoragePoolObj *pool,
                            const char *name)
{
    g_autoptr(virStoragePoolDef) def = virStorageTPMDirCopyLocation(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) vol = virStorageTPMDescribeNew(def, name);
    virStorageTPMRefreshLookup lookup = { .pool = pool, .name = name };
    virStorageVolDef *known;
    int rc;

    if (virStorageVolTPMNameClassify(name) != VIR_STORAGE_VOL_TPM_NAME_GOOD) {
        g_autofree char *escaped = virStorageVolTPMNameEscape(name);

        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("no storage vol with matching name '%1$s'"), escaped);
        return NULL;
    }

    virStorageTPMRefreshLookupStart(&lookup);
    virObjectUnlock(pool);
    rc = virStorageTPMStoreFor(vol)->describe(def, vol);
    virObjectLock(pool);
    virStorageTPMRefreshLookupEnd(&lookup);

    /* somebody has made or found it meanwhile */
    if ((known = virStorageVolDefFindByName(pool, name))) {
        virResetLastError();
        return known;
    }

    if (rc < 0)
        return NULL;

    if (!virStoragePoolObjIsActive(pool) ||
        STRNEQ(def->target.path, virStoragePoolObjGetDef(pool)->target.path)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("storage pool '%1$s' is not active"), def->name);
        return NULL;
    }

    /* what was read may be a file that is deleted */
    if (lookup.changed) {
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("no storage vol with matching name '%1$s'"), name);
        return NULL;
    }

    if (virStoragePoolObjAddVol(pool, vol) < 0)
        return NULL;

    virStorageTPMRefreshSkip(pool, name);
    g_clear_pointer(&vol->tpm, virStorageVolTPMDefFree);
    return g_steal_pointer(&vol);
}


/* Another pool gets what anyone may read, and only while nobody writes to it: @now gets
 * the path of a copy in memory, which is there as long as @keep is open. */
static int
virStorageBackendTPMExportVol(const virStoragePoolDef *def,
                              const virStoragePoolDef *newpool,
                              virStorageVolDef *now,
                              int *keep)
{
    g_autofree char *path = g_strdup(now->target.path);
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTPMState state;
    VIR_AUTOCLOSE lock = -1;

    if ((lock = virStorageTPMStoreFor(now)->open(path, def->name, now->name)) < 0 ||
        virTPMStateProbe(lock, path, &state) < 0) {
        if (virGetLastErrorCode() == VIR_ERR_RESOURCE_BUSY)
            virLastErrorPrefixMessage(_("cannot copy to pool '%1$s' of type '%2$s', use vol-download instead"),
                                      newpool->name,
                                      virStoragePoolTypeToString(newpool->type));
        return -1;
    }

    if (state.kind != VIR_TPM_STATE_LINEAR || state.encrypted) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("cannot copy TPM volume '%1$s' of pool '%2$s' to pool '%3$s' of type '%4$s', as it does not hold clear TPM state: use vol-download"),
                       now->name, def->name, newpool->name,
                       virStoragePoolTypeToString(newpool->type));
        return -1;
    }

    /* clear state in a volume that has a secret may have been replaced: not exported */
    if (virStorageVolTPMCheckSecret(&state, !!virStorageVolTPMGetSecret(now->target.encryption),
                                    path, def->name, now->name) < 0)
        return -1;

    /* what the other pool reads by name must not be another file by then, nor
     * be locked, which qemu-img would heed */
    if (!(bytes = virStorageTPMBytesRead(lock, path)) ||
        (*keep = virStorageTPMBytesToMemory(bytes)) < 0)
        return -1;

    g_free(now->target.path);
    now->target.path = virStorageTPMBytesFdPath(*keep);
    return 0;
}


/* A volume of this pool is about to be copied. A volume of a tpm pool is made from how
 * this one is described, which has <tpm> and tells the pool that it is of. */
static virStorageVolDef *
virStorageBackendTPMPrepareCopy(virStoragePoolObj *pool,
                                virStorageVolDef *vol,
                                const virStoragePoolDef *newpool,
                                int *keep)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    g_autoptr(virStorageVolDef) now = virStorageTPMDescribeNew(def, vol->name);

    if (virStorageTPMStoreFor(now)->describe(def, now) < 0)
        return NULL;

    /* as the pool knows it: the driver compares with that */
    now->target.capacity = vol->target.capacity;

    if (newpool->type != VIR_STORAGE_POOL_TPM) {
        if (virStorageBackendTPMExportVol(def, newpool, now, keep) < 0)
            return NULL;
        return g_steal_pointer(&now);
    }

    virStorageTPMCopySetSource(now, def->name);
    return g_steal_pointer(&now);
}


static char *
virStorageBackendTPMInspectVol(virStoragePoolObj *pool,
                               virStorageVolDef *vol)
{
    g_autoptr(virStoragePoolDef) def = virStorageTPMDirCopyLocation(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) now = virStorageTPMDescribeNew(def, vol->name);
    int rc;

    if (vol->building) {
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is being created"),
                       vol->name, def->name);
        return NULL;
    }

    /* opening it takes long enough for it to change */
    virObjectUnlock(pool);
    if ((rc = virStorageTPMVerify(def->name, vol)) == 0)
        rc = virStorageTPMStoreFor(now)->describe(def, now);
    virObjectLock(pool);

    if (rc < 0)
        return NULL;

    if (now->tpm && vol->tpm)
        now->tpm->inspection = g_steal_pointer(&vol->tpm->inspection);

    return virStorageVolDefFormat(def, now);
}


static int
virStorageBackendTPMDeleteVol(virStoragePoolObj *pool,
                              virStorageVolDef *vol,
                              unsigned int flags)
{
    int ret;

    virCheckFlags(VIR_STORAGE_VOL_DELETE_ZEROED, -1);

    /* it was not made, maybe because somebody else's has its name: see
     * virStorageBackendTPMReleaseTPM() */
    if (vol->tpm)
        return 0;

    /* as for a wipe: a file system may take its time, or not answer at all, and the
     * pool's other volumes are not to wait for it; whoever wants this one is told
     * that it is busy, because its definition goes with it */
    virStoragePoolObjIncrAsyncjobs(pool);
    vol->in_use++;
    vol->building = true;
    virObjectUnlock(pool);

    ret = virStorageTPMStoreFor(vol)->remove(virStoragePoolObjGetDef(pool), vol,
                                             flags & VIR_STORAGE_VOL_DELETE_ZEROED);

    virObjectLock(pool);
    vol->building = false;
    vol->in_use--;
    virStoragePoolObjDecrAsyncjobs(pool);

    if (ret == 0) {
        virStorageTPMUploadNoteDeleted(vol->target.path);
        virStorageTPMRefreshSkip(pool, vol->name);
    }
    return ret;
}


static int
virStorageBackendTPMWipeVol(virStoragePoolObj *pool,
                            virStorageVolDef *vol,
                            unsigned int algorithm,
                            unsigned int flags)
{
    virCheckFlags(0, -1);

    if (virStorageTPMCheckWipe(vol, algorithm) < 0)
        return -1;

    return virStorageTPMStoreFor(vol)->blank(virStoragePoolObjGetDef(pool), vol, algorithm);
}


static int
virStorageBackendTPMResizeVol(virStoragePoolObj *pool G_GNUC_UNUSED,
                              virStorageVolDef *vol,
                              unsigned long long capacity G_GNUC_UNUSED,
                              unsigned int flags)
{
    virCheckFlags(VIR_STORAGE_VOL_RESIZE_ALLOCATE |
                  VIR_STORAGE_VOL_RESIZE_SHRINK, -1);

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("capacity of TPM volume '%1$s' cannot be changed"),
                   vol->name);
    return -1;
}


static int
virStorageBackendTPMUploadVol(virStoragePoolObj *pool,
                              virStorageVolDef *vol,
                              virStreamPtr stream,
                              unsigned long long offset,
                              unsigned long long len,
                              unsigned int flags)
{
    virCheckFlags(VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, -1);

    return virStorageTPMUpload(virStoragePoolObjGetDef(pool), vol, stream, offset, len,
                               flags & VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM);
}


static int
virStorageBackendTPMDownloadVol(virStoragePoolObj *pool,
                                virStorageVolDef *vol,
                                virStreamPtr stream,
                                unsigned long long offset,
                                unsigned long long len,
                                unsigned int flags)
{
    virCheckFlags(VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM, -1);

    return virStorageTPMDownload(virStoragePoolObjGetDef(pool)->name, vol, stream, offset, len,
                                 flags & VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM);
}


virStorageBackend virStorageBackendTPM = {
    .type = VIR_STORAGE_POOL_TPM,

    .initialize = virStorageTPMScratchInitialize,
    .checkPool = virStorageBackendTPMCheckPool,
    .startPool = virStorageBackendTPMStartPool,
    .buildPool = virStorageBackendTPMBuildPool,
    .refreshPool = virStorageBackendTPMRefreshPool,
    .refreshKeepsVols = true,
    .waitRefresh = virStorageTPMRefreshWait,
    .deletePool = virStorageBackendTPMDeletePool,
    .createVol = virStorageBackendTPMCreateVol,
    .buildVol = virStorageBackendTPMBuildVol,
    .buildVolFrom = virStorageBackendTPMBuildVolFrom,
    .prepareCopy = virStorageBackendTPMPrepareCopy,
    .findVol = virStorageBackendTPMFindVol,
    .describeVol = virStorageBackendTPMDescribeVol,
    .inspectVol = virStorageBackendTPMInspectVol,
    .deleteVol = virStorageBackendTPMDeleteVol,
    .resizeVol = virStorageBackendTPMResizeVol,
    .uploadVol = virStorageBackendTPMUploadVol,
    .downloadVol = virStorageBackendTPMDownloadVol,
    .wipeVol = virStorageBackendTPMWipeVol,
};


int
virStorageBackendTPMRegister(void)
{
    return virStorageBackendRegister(&virStorageBackendTPM);
}
