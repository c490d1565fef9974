/*
 * storage_tpm_temp.c: files that are made beside the one that they are to become
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A volume or sidecar is visible only when it is complete: it is written to a temporary,
 * which its maker holds the lock of, and gets its name when it is on the disk. What is to
 * become a volume is probed here, whoever brings it. See storage_tpm_store.c.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage_tpm_bytes.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_name.h"
#include "storage_tpm_temp.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_temp");

/* How many times a temporary name or its lock is tried. */
#define VIR_STORAGE_TPM_TEMP_TRIES 20

#ifndef RENAME_NOREPLACE
# define RENAME_NOREPLACE (1 << 0)
#endif


void
virStorageTPMTempKeep(virStorageTPMTemp *temp)
{
    g_clear_pointer(&temp->path, g_free);
}


void
virStorageTPMTempFree(virStorageTPMTemp *temp)
{
    if (!temp)
        return;

    /* while it is locked: nobody else may remove or replace it */
    if (temp->path && virOFDLockNameRefersTo(temp->fd, temp->path) && unlink(temp->path) < 0)
        VIR_WARN("cannot remove temporary file '%s': %s",
                 temp->path, g_strerror(errno));

    VIR_FORCE_CLOSE(temp->fd);
    g_free(temp->path);
    g_free(temp);
}


static int
virStorageTPMTempSetPerms(virStorageTPMTemp *temp,
                          const virStoragePerms *perms)
{
    uid_t uid = perms ? perms->uid : (uid_t)-1;
    gid_t gid = perms ? perms->gid : (gid_t)-1;
    mode_t mode = perms && perms->mode != (mode_t)-1 ? perms->mode : 0600;

    if ((uid != (uid_t)-1 || gid != (gid_t)-1) &&
        fchown(temp->fd, uid, gid) < 0) {
        virReportSystemError(errno, _("cannot change the owner of '%1$s'"),
                             temp->path);
        return -1;
    }

    if (fchmod(temp->fd, mode) < 0) {
        virReportSystemError(errno, _("cannot change the mode of '%1$s'"),
                             temp->path);
        return -1;
    }

    return 0;
}


/* Sets @temp to NULL, without an error, if it was taken for somebody's leftover
 * before it was locked. */
static int
virStorageTPMTempNewOnce(const char *dir,
                         const char *name,
                         virStorageTPMTemp **temp)
{
    g_autoptr(virStorageTPMTemp) made = g_new0(virStorageTPMTemp, 1);
    g_autofree char *path = NULL;
    int rc;

    path = g_strdup_printf("%s/.%s.XXXXXX" VIR_STORAGE_TPM_TEMP_SUFFIX, dir, name);

    if ((made->fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600)) < 0) {
        virReportSystemError(errno, _("cannot create file '%1$s'"), path);
        return -1;
    }
    made->path = g_steal_pointer(&path);

    rc = virOFDLockAcquireNamed(made->fd, made->path, false);

    if (rc == -EAGAIN || rc == -ESTALE) {
        /* whoever has locked it removes it */
        virStorageTPMTempKeep(made);
        return 0;
    }

    if (rc < 0) {
        virReportSystemError(-rc, _("cannot lock file '%1$s'"), made->path);
        return -1;
    }

    *temp = g_steal_pointer(&made);
    return 0;
}


virStorageTPMTemp *
virStorageTPMTempNew(const char *dir,
                     const char *name,
                     const virStoragePerms *perms)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    size_t i;

    for (i = 0; !temp && i < VIR_STORAGE_TPM_TEMP_TRIES; i++) {
        if (virStorageTPMTempNewOnce(dir, name, &temp) < 0)
            return NULL;
    }

    if (!temp) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot lock a new file for TPM volume '%1$s' in directory '%2$s': check that locks work on its file system"),
                       name, dir);
        return NULL;
    }

    if (virStorageTPMTempSetPerms(temp, perms) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


int
virStorageTPMTempWriteData(virStorageTPMTemp *temp,
                           const void *data,
                           size_t len)
{
    if (safewrite(temp->fd, data, len) < 0 || fsync(temp->fd) < 0) {
        virReportSystemError(errno, _("cannot write %1$zu bytes to '%2$s'"),
                             len, temp->path);
        return -1;
    }

    return 0;
}


int
virStorageTPMTempWrite(virStorageTPMTemp *temp,
                       const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);
    virTPMState state;
    int rc;

    if (!bytes) {
        temp->content = VIR_STORAGE_TPM_CONTENT_BLANK;
        return virStorageTPMTempWriteData(temp, NULL, 0);
    }

    temp->content = VIR_STORAGE_TPM_CONTENT_STATE;

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len))) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("content for '%1$s' is not TPM state"),
                       temp->path);
        return -1;
    }

    if ((rc = virTPMStateAllocate(temp->fd, linear->len)) < 0) {
        virReportSystemError(-rc, _("cannot allocate %1$zu bytes for '%2$s'"),
                             linear->len, temp->path);
        return -1;
    }

    virTPMStateProbeBytes(linear->data, linear->len, &state);
    return virStorageTPMTempWriteData(temp, linear->data, state.end);
}


/* Whatever is given the name of a volume, whoever brings it, is either whole TPM
 * state or blank on purpose. */
static int
virStorageTPMTempCheck(const virStorageTPMTemp *temp,
                       const char *path)
{
    virTPMStateKind expect = VIR_TPM_STATE_LINEAR;
    virTPMState state;

    switch (temp->content) {
    case VIR_STORAGE_TPM_CONTENT_SIDECAR:
        return 0;

    case VIR_STORAGE_TPM_CONTENT_BLANK:
        expect = VIR_TPM_STATE_BLANK;
        break;

    case VIR_STORAGE_TPM_CONTENT_NONE:
    case VIR_STORAGE_TPM_CONTENT_STATE:
        break;
    }

    if (virTPMStateProbe(temp->fd, temp->path, &state) < 0)
        return -1;

    if (state.kind == expect)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("content for '%1$s' is '%2$s' and not complete TPM state"),
                   path, virTPMStateKindTypeToString(state.kind));
    return -1;
}


static int
virStorageTPMTempRenameAt2(const char *from,
                           const char *to)
{
#ifdef WITH_RENAMEAT2
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
#else /* !WITH_RENAMEAT2 */
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
#endif /* !WITH_RENAMEAT2 */
}


/* rename() that does not replace, also where the file system lacks it. */
int
virStorageTPMTempRename(const char *from,
                        const char *to)
{
    if (virStorageTPMTempRenameAt2(from, to) == 0)
        return 0;

    if ((errno != EINVAL && errno != ENOSYS) || link(from, to) < 0)
        return -1;

    /* The file has its new name. If the old one remains, a refresh removes it. */
    ignore_value(unlink(from));
    return 0;
}


void
virStorageTPMTempReportExists(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);

    virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), name);
}


/* Gives a temporary its final name by @giveName, rename() or virStorageTPMTempRename(). */
static int
virStorageTPMTempGiveName(virStorageTPMTemp *temp,
                          const char *path,
                          int (*giveName)(const char *from, const char *to))
{
    g_autofree char *dir = g_path_get_dirname(path);

    if (virStorageTPMTempCheck(temp, path) < 0)
        return -1;

    if (giveName(temp->path, path) < 0) {
        if (errno == EEXIST)
            virStorageTPMTempReportExists(path);
        else
            virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                                 temp->path, path);
        return -1;
    }

    virStorageTPMTempKeep(temp);
    virStorageTPMDirSync(dir);
    return 0;
}


int
virStorageTPMTempPublish(virStorageTPMTemp *temp,
                         const char *path)
{
    return virStorageTPMTempGiveName(temp, path, virStorageTPMTempRename);
}


int
virStorageTPMTempReplace(virStorageTPMTemp *temp,
                         const char *path)
{
    return virStorageTPMTempGiveName(temp, path, rename);
}


virStorageTPMTemp *
virStorageTPMTempNewReplacement(const virStoragePoolDef *pool,
                                const virStorageVolDef *vol,
                                int lock,
                                const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    virStoragePerms perms = { 0 };
    struct stat sb;

    if (fstat(lock, &sb) < 0) {
        virReportSystemError(errno, _("cannot stat '%1$s'"), vol->target.path);
        return NULL;
    }

    perms.uid = sb.st_uid;
    perms.gid = sb.st_gid;
    perms.mode = sb.st_mode & 07777;

    if (!(temp = virStorageTPMTempNew(pool->target.path, vol->name, &perms)) ||
        virStorageTPMTempWrite(temp, bytes) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


/* Gives the file behind @fd, which is locked and which @path names, the name of a
 * temporary too. Returns that name, or NULL with errno set. */
static char *
virStorageTPMTempLink(const char *path,
                      int fd,
                      const char *dir,
                      const char *name,
                      const char *suffix)
{
    size_t i;

    for (i = 0; i < VIR_STORAGE_TPM_TEMP_TRIES; i++) {
        g_autofree char *linked = virStorageTPMNameNewTemp(dir, name, suffix);

        if (link(path, linked) < 0) {
            if (errno == EEXIST)
                continue;
            return NULL;
        }

        if (virOFDLockNameRefersTo(fd, linked))
            return g_steal_pointer(&linked);

        /* somebody has put another file there, heeding no lock */
        unlink(linked);
        errno = ESTALE;
        return NULL;
    }

    return NULL;
}


virStorageTPMTemp *
virStorageTPMTempSetAside(const virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          int *lock)
{
    g_autoptr(virStorageTPMTemp) temp = g_new0(virStorageTPMTemp, 1);

    temp->fd = -1;

    if (!(temp->path = virStorageTPMTempLink(vol->target.path, *lock, pool->target.path,
                                             vol->name, VIR_STORAGE_TPM_OLD_SUFFIX))) {
        virReportSystemError(errno, _("cannot give '%1$s' a temporary name"), vol->target.path);
        return NULL;
    }

    temp->fd = *lock;
    *lock = -1;
    return g_steal_pointer(&temp);
}


int
virStorageTPMTempOverwrite(int fd)
{
    const char zeros[1024] = { 0 };
    struct stat sb;
    off_t left;

    if (fstat(fd, &sb) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -1;

    /* what is larger is no TPM state */
    for (left = MIN(sb.st_size, VIR_TPM_STATE_MAX_SIZE); left > 0; left -= sizeof(zeros)) {
        if (safewrite(fd, zeros, MIN(left, sizeof(zeros))) < 0)
            return -1;
    }

    return fsync(fd);
}


void
virStorageTPMTempReportOld(int err,
                           const virStoragePoolDef *pool,
                           const char *name,
                           const char *path)
{
    virReportSystemError(err,
                         _("cannot overwrite the old content of TPM volume '%1$s' of pool '%2$s', which is left in '%3$s'"),
                         name, pool->name, path);
}
