/*
 * storage_backend_tpm.c: storage backend for the state of emulated TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "datatypes.h"
#include "driver.h"
#include "storage_backend_tpm.h"
#include "storage_conf_tpm.h"
#include "storage_tpm_copy.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_files.h"
#include "storage_tpm_refresh.h"
#include "storage_tpm_scratch.h"
#include "storage_tpm_setup.h"
#include "storage_tpm_transfer.h"
#include "storage_tpm_verify.h"
#include "storage_util.h"
#include "storage_vol_tpm.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virhash.h"
#include "viridentity.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virstring.h"
#include "virtpmstate.h"
#include "virthread.h"
#include "virtpmstatelayout.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_backend_tpm");


static int
virStorageBackendTPMCheckPool(virStoragePoolObj *pool,
                              bool *active)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);

    *active = virFileIsDir(def->target.path);
    return 0;
}


/* A path that swtpm cannot be given: the comma ends its option. */
static int
virStorageBackendTPMCheckPath(const virStoragePoolDef *def)
{
    if (!strpbrk(def->target.path, ",\\") &&
        !virStorageVolTPMNameHasControlChars(def->target.path))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("path '%1$s' of tpm pool '%2$s' cannot contain a comma, backslash or control character"),
                   def->target.path, def->name);
    return -1;
}


/* Of each pool by its path the directory that had volumes when it was last
 * refreshed, or got one since then. A pool whose file system is not mounted shows
 * another one. */
static GHashTable *virStorageBackendTPMDirs;
static virMutex virStorageBackendTPMDirsLock = VIR_MUTEX_INITIALIZER;


static void
virStorageBackendTPMRememberDir(const virStoragePoolDef *def)
{
    g_autofree struct stat *dir = g_new0(struct stat, 1);

    if (stat(def->target.path, dir) < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageBackendTPMDirsLock) {
        if (!virStorageBackendTPMDirs)
            virStorageBackendTPMDirs = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                             g_free, g_free);
        g_hash_table_insert(virStorageBackendTPMDirs, g_strdup(def->target.path),
                            g_steal_pointer(&dir));
    }
}


/* A directory that is made or removed on purpose is nothing to be warned of. */
static void
virStorageBackendTPMForgetDir(const virStoragePoolDef *def)
{
    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageBackendTPMDirsLock) {
        if (virStorageBackendTPMDirs)
            g_hash_table_remove(virStorageBackendTPMDirs, def->target.path);
    }
}


static int
virStorageBackendTPMBuildPool(virStoragePoolObj *pool,
                              unsigned int flags)
{
    int ret;

    virCheckFlags(0, -1);

    if (virStorageBackendTPMCheckPath(virStoragePoolObjGetDef(pool)) < 0)
        return -1;

    /* the pool is starting: its definition stays */
    virObjectUnlock(pool);
    ret = virStorageBackendBuildLocal(pool);
    virObjectLock(pool);

    if (ret == 0)
        virStorageBackendTPMForgetDir(virStoragePoolObjGetDef(pool));
    return ret;
}


/* Whoever may write to the directory can put one TPM in the place of another,
 * whatever the owner and mode of the volumes are. */
static int
virStorageBackendTPMCheckDir(const virStoragePoolDef *def)
{
    struct stat sb;
    bool others;

    if (stat(def->target.path, &sb) < 0 && errno != ENOENT && errno != ENOTDIR) {
        virReportSystemError(errno, _("cannot stat directory '%1$s' of tpm pool '%2$s'"),
                             def->target.path, def->name);
        return -1;
    }

    if (!virFileIsDir(def->target.path)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("directory '%1$s' of tpm pool '%2$s' does not exist: create it with pool-build"),
                       def->target.path, def->name);
        return -1;
    }

    others = (sb.st_mode & S_IWOTH) ||
        ((sb.st_mode & S_IWGRP) && sb.st_gid != 0 && sb.st_gid != getegid());
    if (!others)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("directory '%1$s' of tpm pool '%2$s' has mode 0%3$o, which lets other users replace TPM volumes: remove their write permission with chmod"),
                   def->target.path, def->name, sb.st_mode & 07777);
    return -1;
}


static int
virStorageBackendTPMStartPool(virStoragePoolObj *pool)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    int ret;

    if (virStorageBackendTPMCheckPath(def) < 0)
        return -1;

    /* the pool is starting: its definition stays */
    virObjectUnlock(pool);
    ret = virStorageBackendTPMCheckDir(def);
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


/* The driver's run directory, where its temporary files are. */
static char *
virStorageBackendTPMRunDir(virStoragePoolObj *pool)
{
    virStorageVolDef vol = { .name = (char *)"" };
    g_autofree char *temp = virStoragePoolObjBuildTempFilePath(pool, &vol);

    return g_path_get_dirname(temp);
}


/* What an earlier daemon has left is removed before this one makes anything. */
static void
virStorageBackendTPMSweepRunDir(const char *rundir)
{
    static bool swept;
    static virMutex lock = VIR_MUTEX_INITIALIZER;

    VIR_WITH_MUTEX_LOCK_GUARD(&lock) {
        if (!swept)
            virStorageTPMScratchSweep(rundir);
        swept = true;
    }
}


/* Fills in what the bytes tell. */
static void
virStorageBackendTPMSetState(virStorageVolDef *vol,
                             const virTPMState *state)
{
    virStorageEncryptionFormatType encryption = VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT;

    vol->target.format = VIR_STORAGE_FILE_RAW;
    g_clear_pointer(&vol->target.encryption, virStorageEncryptionFree);

    if (state->kind == VIR_TPM_STATE_QCOW2)
        vol->target.format = VIR_STORAGE_FILE_QCOW2;
    else if (state->kind == VIR_TPM_STATE_LUKS)
        encryption = VIR_STORAGE_ENCRYPTION_FORMAT_LUKS;
    else if (state->encrypted)
        encryption = VIR_STORAGE_ENCRYPTION_FORMAT_VTPM;

    if (encryption == VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT)
        return;

    vol->target.encryption = g_new0(virStorageEncryption, 1);
    vol->target.encryption->format = encryption;
}


/* Reads a volume's file: size, owner and mode, and what its bytes tell. Unless
 * @clear is NULL it is set to the bytes if they are clear state. Returns 0, or -1;
 * an error is always reported if @clear is given. */
static int
virStorageBackendTPMReadVol(virStorageVolDef *vol,
                            virTPMState *state,
                            virStorageTPMBytes **clear)
{
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    if ((fd = virOFDLockOpenFile(vol->target.path, O_RDONLY, &sb)) < 0) {
        if (!clear)
            return -1;
        if (errno == ENOENT)
            virReportError(VIR_ERR_NO_STORAGE_VOL,
                           _("no storage vol with matching path '%1$s'"),
                           vol->target.path);
        else if (errno == ELOOP || errno == ENXIO || errno == ENODEV)
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("volume '%1$s' is not a regular file"),
                           vol->target.path);
        else if (errno == EACCES || errno == EPERM)
            virReportSystemError(errno,
                                 _("no permission to read and write '%1$s' of TPM volume '%2$s': check its owner, mode and security label, and the access of root to a network file system"),
                                 vol->target.path, vol->name);
        else
            virReportSystemError(errno, _("cannot open volume '%1$s'"),
                                 vol->target.path);
        return -1;
    }

    if (virStorageBackendUpdateVolTargetInfoFD(&vol->target, fd, &sb) < 0 ||
        virTPMStateProbe(fd, vol->target.path, state) < 0)
        return -1;

    if (clear && state->kind == VIR_TPM_STATE_LINEAR && !state->encrypted &&
        !(*clear = virStorageTPMBytesReadSome(fd, vol->target.path, state->end)))
        return -1;

    virStorageBackendTPMSetState(vol, state);
    return 0;
}


static virStorageVolDef *
virStorageBackendTPMNewVol(const virStoragePoolDef *def,
                           const char *name)
{
    virStorageVolDef *vol = g_new0(virStorageVolDef, 1);

    vol->name = g_strdup(name);
    vol->type = VIR_STORAGE_VOL_FILE;
    vol->target.path = g_strdup_printf("%s/%s", def->target.path, name);
    vol->key = g_strdup(vol->target.path);
    return vol;
}


/* A file that cannot be read is left out; it does not fail the pool. Sets @holdsState
 * to whether it is TPM state. Returns 1 if it is a volume, 0 if not, -1 if the pool
 * cannot take it. */
static int
virStorageBackendTPMRefreshFile(virStorageTPMRefresh *refresh,
                                const virStoragePoolDef *def,
                                const char *name,
                                bool *holdsState)
{
    g_autoptr(virStorageVolDef) vol = virStorageBackendTPMNewVol(def, name);
    virTPMState state;

    *holdsState = false;

    if (virStorageBackendTPMReadVol(vol, &state, NULL) < 0) {
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


/* Volumes and sidecars that a refresh has seen without the other one, by the name
 * of the volume. */
typedef enum {
    VIR_STORAGE_BACKEND_TPM_ALONE_VOLUME = 1,
    VIR_STORAGE_BACKEND_TPM_ALONE_SIDECAR,
} virStorageBackendTPMAlone;


/* Notes a volume or sidecar; two that belong together are forgotten. */
static void
virStorageBackendTPMNoteAlone(GHashTable *alone,
                              const char *name,
                              virStorageBackendTPMAlone what)
{
    gpointer seen = g_hash_table_lookup(alone, name);

    if (seen && GPOINTER_TO_INT(seen) != what)
        g_hash_table_remove(alone, name);
    else
        g_hash_table_insert(alone, g_strdup(name), GINT_TO_POINTER(what));
}


/* How long a refresh gives sidecars to volumes that have none, in microseconds: each
 * of them has to be on the disk. The others get theirs by the next refresh. */
#define VIR_STORAGE_BACKEND_TPM_ADD_TIME (1000 * 1000)

/* Gives an identity to TPM state that was put into the pool by hand. A pool that
 * cannot be written to can be used. */
static void
virStorageBackendTPMAddSidecars(virStoragePoolDef *def,
                                GHashTable *alone)
{
    const gint64 until = g_get_monotonic_time() + VIR_STORAGE_BACKEND_TPM_ADD_TIME;
    GHashTableIter iter;
    gpointer name;
    gpointer what;

    g_hash_table_iter_init(&iter, alone);

    while (g_hash_table_iter_next(&iter, &name, &what) &&
           g_get_monotonic_time() < until) {
        if (GPOINTER_TO_INT(what) != VIR_STORAGE_BACKEND_TPM_ALONE_VOLUME ||
            virStorageTPMSidecarAdd(def, name) == 0)
            continue;

        VIR_WARN("cannot give TPM volume '%s' of pool '%s' a description '%s/%s%s': %s",
                 (const char *)name, def->name, def->target.path, (const char *)name,
                 VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX, virGetLastErrorMessage());
        virResetLastError();
        return;
    }
}


/* One file of the pool's directory. Returns as virStorageBackendTPMRefreshFile(). */
static int
virStorageBackendTPMRefreshEntry(virStorageTPMRefresh *refresh,
                                 const virStoragePoolDef *def,
                                 const char *name,
                                 GHashTable *alone)
{
    g_autofree char *sidecarOf = NULL;
    bool holdsState;
    int rc = 0;

    virStorageTPMFileSweep(def->target.path, name);

    if (virStorageTPMFileIsVolume(name)) {
        rc = virStorageBackendTPMRefreshFile(refresh, def, name, &holdsState);
        if (holdsState)
            virStorageBackendTPMNoteAlone(alone, name, VIR_STORAGE_BACKEND_TPM_ALONE_VOLUME);
    } else if ((sidecarOf = virStorageTPMFileSidecarVolume(name))) {
        virStorageBackendTPMNoteAlone(alone, sidecarOf, VIR_STORAGE_BACKEND_TPM_ALONE_SIDECAR);
    }

    return rc;
}


/* Whether the pool's directory is another one than when it last had volumes. */
static bool
virStorageBackendTPMDirChanged(const virStoragePoolDef *def)
{
    const struct stat *before = NULL;
    struct stat now;

    if (stat(def->target.path, &now) < 0)
        return true;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageBackendTPMDirsLock) {
        if (virStorageBackendTPMDirs)
            before = g_hash_table_lookup(virStorageBackendTPMDirs, def->target.path);
        if (before && !virOFDLockIsSameFile(before, &now))
            return true;
    }

    return false;
}


/* Whether there is nothing in the pool's directory but what a new file system
 * has. */
static bool
virStorageBackendTPMDirIsEmpty(const virStoragePoolDef *def)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, def->target.path) < 0)
        return true;

    while (virDirRead(dir, &ent, NULL) > 0) {
        if (*ent->d_name != '.' && STRNEQ(ent->d_name, "lost+found"))
            return false;
    }

    return true;
}


/* Does not advise to create a volume where one may only be out of sight. */
static void
virStorageBackendTPMReportMissing(const virStoragePoolDef *def,
                                  const char *name)
{
    if (virStorageBackendTPMDirChanged(def)) {
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is not the one that held its volumes: check that the file system is mounted"),
                       name, def->name, def->target.path);
        return;
    }

    if (virStorageBackendTPMDirIsEmpty(def)) {
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is empty: check that the file system is mounted"),
                       name, def->name, def->target.path);
        return;
    }

    virReportError(VIR_ERR_NO_STORAGE_VOL,
                   _("TPM volume '%1$s' not found in pool '%2$s': create it with vol-create"),
                   name, def->name);
}


/* Size and permissions of the pool's directory. */
static int
virStorageBackendTPMReadDirInfo(virStoragePoolDef *def)
{
    struct statvfs fs;
    struct stat sb;

    if (statvfs(def->target.path, &fs) < 0 || stat(def->target.path, &sb) < 0) {
        virReportSystemError(errno, _("cannot stat directory '%1$s'"),
                             def->target.path);
        return -1;
    }

    def->capacity = (unsigned long long)fs.f_frsize * fs.f_blocks;
    def->available = (unsigned long long)fs.f_frsize * fs.f_bfree;
    def->allocation = def->capacity - def->available;

    def->target.perms.mode = sb.st_mode & 07777;
    def->target.perms.uid = sb.st_uid;
    def->target.perms.gid = sb.st_gid;
    return 0;
}


/* Asks for the volumes that the directory did not list: it may leave some out while
 * files are renamed in it. */
static int
virStorageBackendTPMReadMissing(virStorageTPMRefresh *refresh,
                                const virStoragePoolDef *def,
                                GHashTable *alone)
{
    g_auto(GStrv) names = virStorageTPMRefreshGetMissing(refresh);
    size_t i;

    for (i = 0; names[i]; i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", def->target.path, names[i]);

        if (virFileExists(path) &&
            virStorageBackendTPMRefreshEntry(refresh, def, names[i], alone) < 0)
            return -1;
    }

    return 0;
}


/* Reads the directory of a pool, which is not locked: each volume is brought up to
 * date by itself. @def is a copy of the pool's definition. */
static int
virStorageBackendTPMReadDir(virStorageTPMRefresh *refresh,
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
        if ((added = virStorageBackendTPMRefreshEntry(refresh, def, ent->d_name, alone)) < 0)
            return -1;
        volumes = volumes || added > 0;
    }

    if (rc < 0 || virStorageBackendTPMReadMissing(refresh, def, alone) < 0)
        return -1;

    virStorageBackendTPMAddSidecars(def, alone);

    if (volumes)
        virStorageBackendTPMRememberDir(def);

    return virStorageBackendTPMReadDirInfo(def);
}


/* Refreshes the pool, which is unlocked while its directory is read: see
 * storage_tpm_refresh.h. */
static int
virStorageBackendTPMRefreshPool(virStoragePoolObj *pool)
{
    g_autoptr(virStoragePoolDef) now = virStorageTPMFileCopyPool(virStoragePoolObjGetDef(pool));
    g_autofree char *rundir = virStorageBackendTPMRunDir(pool);
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    virStorageTPMRefresh *refresh = virStorageTPMRefreshStart(pool);
    int ret;

    if (!refresh)
        return -1;

    virObjectUnlock(pool);
    virStorageBackendTPMSweepRunDir(rundir);
    ret = virStorageBackendTPMReadDir(refresh, now);
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


static int
virStorageBackendTPMCheckEncryption(const virStorageVolDef *vol)
{
    const virStorageEncryption *enc = vol->target.encryption;

    if (!enc)
        return 0;

    switch ((virStorageEncryptionFormatType)enc->format) {
    case VIR_STORAGE_ENCRYPTION_FORMAT_VTPM:
        break;

    case VIR_STORAGE_ENCRYPTION_FORMAT_QCOW:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format 'qcow' of TPM volume '%1$s' is not secure, and not supported: use 'vtpm'"),
                       vol->name);
        return -1;

    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format 'luks' of TPM volume '%1$s' is not supported yet: use 'vtpm'"),
                       vol->name);
        return -1;

    case VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS2:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LAST:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format '%1$s' of TPM volume '%2$s' is not supported: use 'vtpm'"),
                       virStorageEncryptionFormatTypeToString(enc->format), vol->name);
        return -1;
    }

    if (enc->nsecrets != 1) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption of TPM volume '%1$s' requires exactly one <secret>"),
                       vol->name);
        return -1;
    }

    return 0;
}


static int
virStorageBackendTPMCheckTarget(const virStorageVolDef *vol)
{
    if (vol->target.format == VIR_STORAGE_FILE_QCOW2) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format 'qcow2' of TPM volume '%1$s' is not supported yet: use 'raw'"),
                       vol->name);
        return -1;
    }

    if (vol->target.format != VIR_STORAGE_FILE_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%1$s' of TPM volume '%2$s' is not supported: use 'raw'"),
                       virStorageFileFormatTypeToString(vol->target.format), vol->name);
        return -1;
    }

    if (virStorageSourceHasBacking(&vol->target)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' cannot have a backing store"), vol->name);
        return -1;
    }

    if (vol->target.capacity > VIR_STORAGE_VOL_TPM_CAPACITY_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("capacity of TPM volume '%1$s' is %2$llu bytes, but at most %3$llu are supported: omit it to use 1 MiB"),
                       vol->name, vol->target.capacity,
                       VIR_STORAGE_VOL_TPM_CAPACITY_MAX);
        return -1;
    }

    return virStorageBackendTPMCheckEncryption(vol);
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
    tpm->unpublished = true;
    return 0;
}


static int
virStorageBackendTPMCreateVol(virStoragePoolObj *pool,
                              virStorageVolDef *vol)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(pool);

    if (virStorageVolTPMNameCheck(vol->name) < 0 ||
        virStorageBackendTPMCheckTarget(vol) < 0 ||
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


/* Writes a complete volume beside its name, then its sidecar, and last gives
 * it its name: whenever this is interrupted, there is no volume or a whole
 * one. */
static int
virStorageBackendTPMPublishVol(virStoragePoolDef *def,
                               const virStorageVolDef *vol,
                               const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (!(temp = virStorageTPMTempNew(def->target.path, vol->name, vol->target.perms)) ||
        virStorageTPMTempWrite(temp, bytes) < 0 ||
        !(sidecar = virStorageTPMSidecarPlace(def, vol)) ||
        virStorageTPMTempPublish(temp, vol->target.path) < 0)
        return -1;

    virStorageTPMTempKeep(sidecar);
    virStorageBackendTPMRememberDir(def);
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
    g_autofree char *rundir = virStorageBackendTPMRunDir(pool);

    if (origvol && vol->tpm->identity != VIR_STORAGE_VOL_TPM_IDENTITY_NEW) {
        *bytes = virStorageTPMCopy(def, vol, origvol);
        return *bytes ? 0 : -1;
    }

    if (origvol && virStorageTPMCopyParameters(vol, origvol) < 0)
        return -1;

    vol->tpm->version = virStorageVolTPMVersionOrDefault(vol->tpm->version);

    if (vol->tpm->manufacture == VIR_TRISTATE_BOOL_NO)
        return 0;

    *bytes = virStorageTPMManufacture(rundir, def, vol);
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


/* Makes @vol of @origvol, or a new TPM if that is NULL. @vol shares its
 * pointers with the pool's own definition, which others may look at meanwhile:
 * what is learned goes into a copy, and from there by the sidecar. */
static int
virStorageBackendTPMMakeVol(virStoragePoolObj *pool,
                            virStorageVolDef *vol,
                            const virStorageVolDef *origvol)
{
    virStorageVolTPMDef *asked = vol->tpm;
    g_autoptr(virStorageVolTPMDef) tpm = virStorageVolTPMDefCopy(asked);
    g_autoptr(virStorageTPMBytes) bytes = NULL;

    vol->tpm = tpm;
    tpm->source = g_steal_pointer(&asked->source);

    if (virStorageBackendTPMCheckNew(vol) < 0 ||
        virStorageBackendTPMMakeBytes(pool, vol, origvol, &bytes) < 0)
        return -1;

    /* only a parameter of vol-create-from, not stored */
    tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_DEFAULT;

    if (virStorageBackendTPMPublishVol(virStoragePoolObjGetDef(pool), vol, bytes) < 0)
        return -1;

    asked->unpublished = false;
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

    if (vol->tpm->identity == VIR_STORAGE_VOL_TPM_IDENTITY_NEW && !vol->tpm->source) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("identity='new' of TPM volume '%1$s' requires a volume of a tpm pool as source"),
                       vol->name);
        return -1;
    }

    return virStorageBackendTPMMakeVol(pool, vol, origvol);
}


/* The secret of an encrypted volume whose sidecar is lost. */
static virStorageEncryption *
virStorageBackendTPMFindSecret(const virStorageVolDef *vol)
{
    g_autoptr(virConnect) conn = NULL;
    g_autoptr(virSecret) secret = NULL;
    virStorageEncryption *enc = NULL;
    VIR_IDENTITY_AUTORESTORE virIdentity *oldident = virIdentityElevateCurrent();

    if (!oldident || !(conn = virGetConnectSecret()) ||
        !(secret = virSecretLookupByUsage(conn, VIR_SECRET_USAGE_TYPE_VTPM,
                                          vol->target.path))) {
        virResetLastError();
        return NULL;
    }

    enc = g_new0(virStorageEncryption, 1);
    enc->format = VIR_STORAGE_ENCRYPTION_FORMAT_VTPM;
    enc->secrets = g_new0(virStorageEncryptionSecret *, 1);
    enc->secrets[0] = g_new0(virStorageEncryptionSecret, 1);
    enc->nsecrets = 1;
    enc->secrets[0]->type = VIR_STORAGE_ENCRYPTION_SECRET_TYPE_PASSPHRASE;
    enc->secrets[0]->seclookupdef.type = VIR_SECRET_LOOKUP_TYPE_UUID;
    memcpy(enc->secrets[0]->seclookupdef.u.uuid, secret->uuid, VIR_UUID_BUFLEN);

    return enc;
}


/* Whether clear state is known to be another TPM than the one that its sidecar
 * describes, by the certificates that both hold: it was replaced by hand, or by an
 * upload that was interrupted. */
static bool
virStorageBackendTPMIsAnother(const virStorageVolDef *sidecar,
                              const virStorageTPMBytes *clear)
{
    return sidecar && sidecar->tpm && clear &&
        virStorageTPMEndorsementMatchState(sidecar->tpm, clear->data,
                                           clear->len) == VIR_TRISTATE_BOOL_NO;
}


/* Drops identity and certificates from a sidecar that is that of another TPM. A guest
 * may write to its TPM, and an upload replace the state and then the sidecar, while
 * they are read: before anything is dropped, both are read again, the state as of
 * one moment. */
static int
virStorageBackendTPMCheckSidecar(virStoragePoolDef *def,
                                 const virStorageVolDef *vol,
                                 const virStorageTPMBytes *clear,
                                 virStorageVolDef **sidecar)
{
    g_autoptr(virStorageTPMBytes) moment = NULL;

    if (!virStorageBackendTPMIsAnother(*sidecar, clear))
        return 0;

    if (!(moment = virStorageTPMBytesSnapshot(vol->target.path, def->name, vol->name))) {
        virResetLastError();
        return 0;
    }

    g_clear_pointer(sidecar, virStorageVolDefFree);
    if (virStorageTPMSidecarRead(def, vol->name, -1, sidecar) < 0)
        return -1;

    if (!virStorageBackendTPMIsAnother(*sidecar, moment))
        return 0;

    VIR_WARN("description '%s%s' of TPM volume '%s' of pool '%s' is that of another TPM: "
             "its identity and certificates are ignored",
             vol->target.path, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX, vol->name, def->name);
    virStorageVolTPMDefClearLearned((*sidecar)->tpm);
    return 0;
}


/* Adds what the sidecar tells to what the bytes tell; where they differ, the
 * bytes are right. */
static int
virStorageBackendTPMAddSidecar(virStoragePoolDef *def,
                               virStorageVolDef *vol,
                               const virTPMState *state,
                               const virStorageTPMBytes *clear)
{
    virDomainTPMVersion version = virStorageVolTPMVersionFromState(state->version);
    g_autoptr(virStorageVolDef) sidecar = NULL;
    virStorageEncryption *enc = NULL;

    if (state->kind != VIR_TPM_STATE_LINEAR &&
        state->kind != VIR_TPM_STATE_BLANK &&
        state->kind != VIR_TPM_STATE_DAMAGED)
        return 0;

    if (virStorageTPMSidecarRead(def, vol->name, -1, &sidecar) < 0 ||
        virStorageBackendTPMCheckSidecar(def, vol, clear, &sidecar) < 0)
        return -1;

    if (sidecar) {
        vol->tpm = g_steal_pointer(&sidecar->tpm);
        vol->target.capacity = sidecar->target.capacity;
    }
    if (!vol->tpm)
        vol->tpm = g_new0(virStorageVolTPMDef, 1);

    if (version != VIR_DOMAIN_TPM_VERSION_DEFAULT)
        vol->tpm->version = version;

    /* a question to vol-create-from, whatever a sidecar says */
    vol->tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_DEFAULT;
    if (state->kind == VIR_TPM_STATE_BLANK) {
        ignore_value(virStorageVolTPMDefClearLost(vol->tpm));
        vol->tpm->manufacture = VIR_TRISTATE_BOOL_NO;
    } else {
        vol->tpm->manufacture = VIR_TRISTATE_BOOL_ABSENT;
    }

    /* Where a secret is expected and the state is clear, somebody has replaced
     * it: that is for whoever is about to use it to refuse. */
    if (sidecar && sidecar->target.encryption &&
        sidecar->target.encryption->format == VIR_STORAGE_ENCRYPTION_FORMAT_VTPM &&
        virStorageVolTPMGetSecret(sidecar->target.encryption))
        enc = g_steal_pointer(&sidecar->target.encryption);
    else if (state->encrypted)
        enc = virStorageBackendTPMFindSecret(vol);

    if (!enc)
        return 0;

    virStorageEncryptionFree(vol->target.encryption);
    vol->target.encryption = enc;
    return 0;
}


/* Fills in what a volume is now. Its pool is not locked: @def and @vol are the
 * caller's own. */
static int
virStorageBackendTPMReadDescription(virStoragePoolDef *def,
                                    virStorageVolDef *vol)
{
    g_autoptr(virStorageTPMBytes) clear = NULL;
    virTPMState state;

    if (virStorageBackendTPMReadVol(vol, &state, &clear) < 0) {
        if (virGetLastErrorCode() == VIR_ERR_NO_STORAGE_VOL)
            virStorageBackendTPMReportMissing(def, vol->name);
        return -1;
    }

    return virStorageBackendTPMAddSidecar(def, vol, &state, clear);
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
    g_autoptr(virStoragePoolDef) def = virStorageTPMFileCopyPool(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) now = NULL;
    int rc;

    if (vol->building)
        return virStorageBackendTPMCopyVol(def, vol);

    now = virStorageBackendTPMNewVol(def, vol->name);

    virObjectUnlock(pool);
    rc = virStorageBackendTPMReadDescription(def, now);
    virObjectLock(pool);

    return rc < 0 ? NULL : g_steal_pointer(&now);
}


/* A volume that was put into the directory by hand or by another host. */
static virStorageVolDef *
virStorageBackendTPMFindVol(virStoragePoolObj *pool,
                            const char *name)
{
    g_autoptr(virStoragePoolDef) def = virStorageTPMFileCopyPool(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) vol = virStorageBackendTPMNewVol(def, name);
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
    rc = virStorageBackendTPMReadDescription(def, vol);
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
    virStorageVolTPMDefRelease(vol);
    return g_steal_pointer(&vol);
}


/* A volume of this pool is about to be copied. Another TPM volume learns how
 * this one is described; another pool gets what anyone may read, and only while
 * nobody writes to it. */
static int
virStorageBackendTPMPrepareCopy(virStoragePoolObj *pool,
                                virStorageVolDef *vol,
                                const virStoragePoolDef *newpool,
                                virStorageVolDef *newvol,
                                int *keep,
                                char **source)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    g_autoptr(virStorageVolDef) now = virStorageBackendTPMNewVol(def, vol->name);
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTPMState state;
    VIR_AUTOCLOSE lock = -1;

    if (virStorageBackendTPMReadDescription(def, now) < 0)
        return -1;

    if (newpool->type == VIR_STORAGE_POOL_TPM) {
        if (!newvol->tpm)
            newvol->tpm = g_new0(virStorageVolTPMDef, 1);
        virStorageVolTPMDefSetSource(newvol->tpm, def->name, now);
        return 0;
    }

    if ((lock = virStorageVolTPMOpen(vol->target.path, def->name, vol->name)) < 0 ||
        virTPMStateProbe(lock, vol->target.path, &state) < 0) {
        if (virGetLastErrorCode() == VIR_ERR_RESOURCE_BUSY)
            virLastErrorPrefixMessage(_("cannot copy to pool '%1$s' of type '%2$s', use vol-download instead"),
                                      newpool->name,
                                      virStoragePoolTypeToString(newpool->type));
        return -1;
    }

    if (state.kind != VIR_TPM_STATE_LINEAR || state.encrypted) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("cannot copy TPM volume '%1$s' of pool '%2$s' to pool '%3$s' of type '%4$s', as it does not hold clear TPM state: use vol-download"),
                       vol->name, def->name, newpool->name,
                       virStoragePoolTypeToString(newpool->type));
        return -1;
    }

    /* clear state in a volume that has a secret may have been replaced: not exported */
    if (virStorageVolTPMCheckSecret(&state, !!virStorageVolTPMGetSecret(now->target.encryption),
                                    vol->target.path, def->name, vol->name) < 0)
        return -1;

    /* what the other pool reads by name must not be another file by then, nor
     * be locked, which qemu-img would heed */
    if (!(bytes = virStorageTPMBytesRead(lock, vol->target.path)) ||
        (*keep = virStorageTPMBytesToMemory(bytes)) < 0)
        return -1;

    *source = virStorageTPMFileFdPath(*keep);
    return 0;
}


static char *
virStorageBackendTPMInspectVol(virStoragePoolObj *pool,
                               virStorageVolDef *vol)
{
    g_autoptr(virStoragePoolDef) def = virStorageTPMFileCopyPool(virStoragePoolObjGetDef(pool));
    g_autoptr(virStorageVolDef) now = virStorageBackendTPMNewVol(def, vol->name);
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
        rc = virStorageBackendTPMReadDescription(def, now);
    virObjectLock(pool);

    if (rc < 0)
        return NULL;

    if (now->tpm && vol->tpm)
        now->tpm->inspection = g_steal_pointer(&vol->tpm->inspection);

    return virStorageVolDefFormat(def, now);
}


/* Overwrites what was set aside, by libvirt's own means. Not by its name, which
 * might stand for something else by now. */
static int
virStorageBackendTPMScrub(virStoragePoolObj *pool,
                          virStorageVolDef *vol,
                          const virStorageTPMTemp *old,
                          unsigned int algorithm)
{
    g_autofree char *path = virStorageTPMFileFdPath(old->fd);
    g_autofree char *said = NULL;
    virStorageVolDef file = { .name = vol->name, .target.path = path };
    struct stat sb;

    if (fstat(old->fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot stat '%1$s'"), vol->target.path);
        return -1;
    }

    /* a file with holes, as swtpm may leave one, would only be cut off */
    if (sb.st_size <= VIR_TPM_STATE_MAX_SIZE)
        ignore_value(posix_fallocate(old->fd, 0, sb.st_size));

    file.target.format = VIR_STORAGE_FILE_RAW;
    file.target.allocation = sb.st_size;

    if (virStorageBackendVolWipeLocal(pool, &file, algorithm, 0) == 0)
        return 0;

    /* the user knows the volume, and not the descriptor */
    said = virStringReplace(virGetLastErrorMessage(), path, vol->target.path);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("old content of TPM volume '%1$s' of pool '%2$s' was overwritten with zeros only: %3$s"),
                   vol->name, virStoragePoolObjGetDef(pool)->name, said);
    return -1;
}


/* Overwrites what was set aside; it then goes with the temporary. Where the
 * algorithm fails, zeros are written; where not even that can be done, the content
 * is kept and named. */
static int
virStorageBackendTPMOverwrite(virStoragePoolObj *pool,
                              virStorageVolDef *vol,
                              virStorageTPMTemp *old,
                              unsigned int algorithm)
{
    if (virStorageBackendTPMScrub(pool, vol, old, algorithm) == 0)
        return 0;

    if (virStorageTPMFileOverwrite(old->fd) < 0) {
        virStorageTPMFileReportOld(errno, virStoragePoolObjGetDef(pool), vol->name, old->path);
        virStorageTPMTempKeep(old);
        return -1;
    }

    if (algorithm != VIR_STORAGE_VOL_WIPE_ALG_ZERO)
        return -1;

    virResetLastError();
    return 0;
}


/* Removes a volume's files. The pool is not locked. */
static int
virStorageBackendTPMDeleteFiles(virStoragePoolObj *pool,
                                virStorageVolDef *vol,
                                unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    g_autoptr(virStorageTPMTemp) old = NULL;
    VIR_AUTOCLOSE lock = -1;
    struct stat sb;

    if (flags & VIR_STORAGE_VOL_DELETE_ZEROED &&
        virStorageTPMFileSweepOld(def, vol->name) < 0)
        return -1;

    if (g_lstat(vol->target.path, &sb) < 0 && errno == ENOENT) {
        virStorageTPMSidecarRemoveOrphan(def, vol);
        return 0;
    }

    if ((lock = virStorageVolTPMOpen(vol->target.path, def->name, vol->name)) < 0)
        return -1;

    if (!(flags & VIR_STORAGE_VOL_DELETE_ZEROED))
        return virStorageTPMFileRemove(def, vol);

    if (!(old = virStorageTPMFileSetAside(def, vol, &lock)) ||
        virStorageTPMFileRemove(def, vol) < 0)
        return -1;

    return virStorageBackendTPMOverwrite(pool, vol, old, VIR_STORAGE_VOL_WIPE_ALG_ZERO);
}


static int
virStorageBackendTPMDeleteVol(virStoragePoolObj *pool,
                              virStorageVolDef *vol,
                              unsigned int flags)
{
    int ret;

    virCheckFlags(VIR_STORAGE_VOL_DELETE_ZEROED, -1);

    /* it could not be made, maybe because somebody else's has its name */
    if (vol->tpm && vol->tpm->unpublished)
        return 0;

    /* as for a wipe: a file system may take its time, or not answer at all, and the
     * pool's other volumes are not to wait for it; whoever wants this one is told
     * that it is busy, because its definition goes with it */
    virStoragePoolObjIncrAsyncjobs(pool);
    vol->in_use++;
    vol->building = true;
    virObjectUnlock(pool);

    ret = virStorageBackendTPMDeleteFiles(pool, vol, flags);

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


/* Whether an algorithm can be used is asked before anything is touched. */
static int
virStorageBackendTPMCheckWipe(const virStorageVolDef *vol,
                              unsigned int algorithm)
{
    g_autofree char *scrub = NULL;

    if (algorithm == VIR_STORAGE_VOL_WIPE_ALG_ZERO)
        return 0;

    if (algorithm == VIR_STORAGE_VOL_WIPE_ALG_TRIM) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("wipe algorithm 'trim' is not supported for TPM volume '%1$s', which is a file"),
                       vol->name);
        return -1;
    }

    if (!(scrub = virFindFileInPath("scrub"))) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("this wipe algorithm requires the program 'scrub' for TPM volume '%1$s': install it, or use the algorithm 'zero'"),
                       vol->name);
        return -1;
    }

    return 0;
}


/* Before a volume is wiped: it is no longer one that was made blank, see
 * virStorageVolTPMDefClearLost(). */
static int
virStorageBackendTPMClearManufacture(virStoragePoolDef *def,
                                     virStorageVolDef *sidecar)
{
    if (!sidecar || !sidecar->tpm || !sidecar->tpm->manufacture)
        return 0;

    sidecar->tpm->manufacture = VIR_TRISTATE_BOOL_ABSENT;
    return virStorageTPMSidecarReplace(def, sidecar);
}


/* The certificates are those of a TPM that is no more; the identity stays, for
 * a state that is brought here. Of a blank volume they are not shown anyhow, see
 * virStorageVolTPMDefClearLost(): that they could not be removed is no failure. */
static void
virStorageBackendTPMDropCertificates(virStoragePoolDef *def,
                                     virStorageVolDef *sidecar)
{
    if (!sidecar || !sidecar->tpm)
        return;

    virStorageVolTPMDefClearEndorsements(sidecar->tpm);

    if (virStorageTPMSidecarReplace(def, sidecar) < 0) {
        VIR_WARN("cannot remove the certificates of TPM volume '%s' of pool '%s': %s",
                 sidecar->name, def->name, virGetLastErrorMessage());
        virResetLastError();
    }
}


static int
virStorageBackendTPMWipeVol(virStoragePoolObj *pool,
                            virStorageVolDef *vol,
                            unsigned int algorithm,
                            unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(pool);
    g_autoptr(virStorageVolDef) sidecar = NULL;
    g_autoptr(virStorageTPMTemp) old = NULL;
    g_autoptr(virStorageTPMTemp) blank = NULL;
    VIR_AUTOCLOSE lock = -1;

    virCheckFlags(0, -1);

    if (virStorageBackendTPMCheckWipe(vol, algorithm) < 0 ||
        virStorageTPMFileSweepOld(def, vol->name) < 0 ||
        (lock = virStorageVolTPMOpen(vol->target.path, def->name, vol->name)) < 0)
        return -1;

    if (virStorageTPMSidecarRead(def, vol->name, lock, &sidecar) < 0 ||
        virStorageBackendTPMClearManufacture(def, sidecar) < 0 ||
        !(old = virStorageTPMFileSetAside(def, vol, &lock)) ||
        !(blank = virStorageTPMFileWriteNew(def, vol, old->fd, NULL)) ||
        virStorageTPMTempReplace(blank, vol->target.path) < 0)
        return -1;

    virStorageBackendTPMDropCertificates(def, sidecar);

    return virStorageBackendTPMOverwrite(pool, vol, old, algorithm);
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

    .checkPool = virStorageBackendTPMCheckPool,
    .startPool = virStorageBackendTPMStartPool,
    .buildPool = virStorageBackendTPMBuildPool,
    .refreshPool = virStorageBackendTPMRefreshPool,
    .refreshKeepsVols = true,
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
