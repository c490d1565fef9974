/*
 * storage_tpm_files.c: the files of a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_files.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virrandom.h"
#include "virsecureerase.h"
#include "virstring.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_files");

#define VIR_STORAGE_TPM_SIDECAR_MAX (64 * 1024)

/* How long the end of an upload is waited for that has replaced a volume, in
 * microseconds. */
#define VIR_STORAGE_TPM_SIDECAR_WAIT (1000 * 1000)
#define VIR_STORAGE_TPM_TEMP_SUFFIX ".tmptpm"
#define VIR_STORAGE_TPM_OLD_SUFFIX ".oldtpm"

/* How many times a temporary name or its lock is tried. */
#define VIR_STORAGE_TPM_TRIES 20

#ifndef RENAME_NOREPLACE
# define RENAME_NOREPLACE (1 << 0)
#endif


virStoragePoolDef *
virStorageTPMFileCopyPool(const virStoragePoolDef *pool)
{
    virStoragePoolDef *copy = g_new0(virStoragePoolDef, 1);

    copy->type = VIR_STORAGE_POOL_TPM;
    copy->name = g_strdup(pool->name);
    copy->target.path = g_strdup(pool->target.path);
    return copy;
}


char *
virStorageTPMFileSidecarVolume(const char *name)
{
    const size_t suffix = strlen(VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX);

    if (!virStringHasSuffix(name, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX))
        return NULL;

    return g_strndup(name, strlen(name) - suffix);
}


bool
virStorageTPMFileIsVolume(const char *name)
{
    g_autofree char *escaped = NULL;

    switch (virStorageVolTPMNameClassify(name)) {
    case VIR_STORAGE_VOL_TPM_NAME_GOOD:
        return true;

    case VIR_STORAGE_VOL_TPM_NAME_LONG:
    case VIR_STORAGE_VOL_TPM_NAME_CHARACTER:
        escaped = virStorageVolTPMNameEscape(name);
        VIR_WARN("ignoring file '%s' in a tpm pool: a volume cannot have that name", escaped);
        return false;

    case VIR_STORAGE_VOL_TPM_NAME_EMPTY:
    case VIR_STORAGE_VOL_TPM_NAME_DOT:
    case VIR_STORAGE_VOL_TPM_NAME_SIDECAR:
        break;
    }

    return false;
}


void
virStorageTPMBytesFree(virStorageTPMBytes *bytes)
{
    if (!bytes)
        return;

    virSecureErase(bytes->data, bytes->len);
    g_free(bytes->data);
    g_free(bytes);
}


virStorageTPMBytes *
virStorageTPMBytesReadSome(int fd,
                           const char *path,
                           size_t most)
{
    g_autoptr(virStorageTPMBytes) bytes = g_new0(virStorageTPMBytes, 1);
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t got;

    if (size < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), path);
        return NULL;
    }

    if (size > VIR_TPM_STATE_MAX_SIZE) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' has %2$lld bytes, but TPM state has at most %3$llu"),
                       path, (long long)size, VIR_TPM_STATE_MAX_SIZE);
        return NULL;
    }

    size = MIN(size, most);
    bytes->data = g_new0(uint8_t, size);
    bytes->len = size; /* erased, whatever comes of it before the read fails */
    if ((got = saferead(fd, bytes->data, size)) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), path);
        return NULL;
    }
    bytes->len = got;

    return g_steal_pointer(&bytes);
}


virStorageTPMBytes *
virStorageTPMBytesRead(int fd,
                       const char *path)
{
    return virStorageTPMBytesReadSome(fd, path, VIR_TPM_STATE_MAX_SIZE);
}


int
virStorageTPMBytesToMemory(const virStorageTPMBytes *bytes)
{
    VIR_AUTOCLOSE fd = memfd_create("tpm", MFD_CLOEXEC);
    int ret;

    if (fd < 0 ||
        (bytes && safewrite(fd, bytes->data, bytes->len) < 0)) {
        virReportSystemError(errno, "%s", _("cannot allocate memory for the state of a TPM"));
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


char *
virStorageTPMFileFdPath(int fd)
{
    return g_strdup_printf("/proc/%lld/fd/%d", (long long)getpid(), fd);
}


/* Between two reads of a volume: long enough for swtpm to end a write that it
 * was interrupted in, short enough to fit between two writes. */
#define VIR_STORAGE_TPM_BYTES_PAUSE (5 * 1000)

/* Reads a volume twice: returns the bytes if both times they were the same, and
 * whole; NULL without an error if not. */
static virStorageTPMBytes *
virStorageTPMBytesReadTwice(int fd,
                            const char *path)
{
    g_autoptr(virStorageTPMBytes) first = virStorageTPMBytesRead(fd, path);
    g_autoptr(virStorageTPMBytes) second = NULL;
    virTPMState state;

    g_usleep(VIR_STORAGE_TPM_BYTES_PAUSE);

    if (first)
        second = virStorageTPMBytesRead(fd, path);

    if (!second || first->len != second->len)
        return NULL;

    virTPMStateProbeBytes(first->data, first->len, &state);

    if (state.kind != VIR_TPM_STATE_LINEAR ||
        memcmp(first->data, second->data, first->len) != 0)
        return NULL;

    return g_steal_pointer(&first);
}


/* Reads a volume once more from its path: sets @bytes to a whole copy, or NULL
 * if there is none right now. */
static int
virStorageTPMBytesReadOnce(const char *path,
                           const char *pool,
                           const char *vol,
                           virStorageTPMBytes **bytes)
{
    struct stat sb;
    VIR_AUTOCLOSE fd = virOFDLockOpenFile(path, O_RDONLY, &sb);
    int rc;

    *bytes = NULL;

    if (fd < 0) {
        virReportSystemError(errno, _("cannot open TPM volume '%1$s' of pool '%2$s'"),
                             vol, pool);
        return -1;
    }

    /* what was replaced may have been overwritten since */
    if ((rc = virOFDLockAcquireNamed(fd, path, true)) == -ESTALE)
        return 0;

    if (rc < 0) {
        *bytes = virStorageTPMBytesReadTwice(fd, path);
        virResetLastError();
        return 0;
    }

    /* Whatever a volume holds can be read, if nobody writes to it. */
    *bytes = virStorageTPMBytesRead(fd, path);
    return *bytes ? 0 : -1;
}


virStorageTPMBytes *
virStorageTPMBytesSnapshot(const char *path,
                           const char *pool,
                           const char *vol)
{
    const gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    virStorageTPMBytes *bytes;

    do {
        if (virStorageTPMBytesReadOnce(path, pool, vol, &bytes) < 0)
            return NULL;
    } while (!bytes && g_get_monotonic_time() < until);

    if (bytes)
        return bytes;

    virReportError(VIR_ERR_RESOURCE_BUSY,
                   _("TPM volume '%1$s' of pool '%2$s' is in use, and no consistent copy could be read within 5 seconds: suspend the guest and try again"),
                   vol, pool);
    return NULL;
}


/* What was renamed or removed is so for everybody, whether that is on the disk
 * yet or not: there is no failure left to report. */
static void
virStorageTPMFileSyncDir(const char *dir)
{
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        VIR_WARN("cannot sync directory '%s': what was changed in it may be lost if the host crashes: %s",
                 dir, g_strerror(errno));
}


/* A name that most probably no file has. */
static char *
virStorageTPMFileTempName(const char *dir,
                          const char *name,
                          const char *suffix)
{
    return g_strdup_printf("%s/.%s.%06x%s", dir, name,
                           (unsigned int)virRandomBits(24), suffix);
}


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
virStorageTPMTempMake(const char *dir,
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

    for (i = 0; !temp && i < VIR_STORAGE_TPM_TRIES; i++) {
        if (virStorageTPMTempMake(dir, name, &temp) < 0)
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


static int
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
virStorageTPMFileRenameAt2(const char *from,
                           const char *to)
{
#ifdef WITH_RENAMEAT2
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
#else /* !WITH_RENAMEAT2 */
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
#endif /* !WITH_RENAMEAT2 */
}


/* rename() that does not replace, also where the file system lacks it. */
static int
virStorageTPMFileRenameNew(const char *from,
                           const char *to)
{
    if (virStorageTPMFileRenameAt2(from, to) == 0)
        return 0;

    if ((errno != EINVAL && errno != ENOSYS) || link(from, to) < 0)
        return -1;

    /* The file has its new name. If the old one remains, a refresh removes it. */
    ignore_value(unlink(from));
    return 0;
}


static void
virStorageTPMFileReportExists(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);

    virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), name);
}


int
virStorageTPMTempPublish(virStorageTPMTemp *temp,
                         const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    if (virStorageTPMTempCheck(temp, path) < 0)
        return -1;

    if (virStorageTPMFileRenameNew(temp->path, path) < 0) {
        if (errno == EEXIST)
            virStorageTPMFileReportExists(path);
        else
            virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                                 temp->path, path);
        return -1;
    }

    virStorageTPMTempKeep(temp);
    virStorageTPMFileSyncDir(dir);
    return 0;
}


int
virStorageTPMTempReplace(virStorageTPMTemp *temp,
                         const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    if (virStorageTPMTempCheck(temp, path) < 0)
        return -1;

    if (rename(temp->path, path) < 0) {
        virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                             temp->path, path);
        return -1;
    }

    virStorageTPMTempKeep(temp);
    virStorageTPMFileSyncDir(dir);
    return 0;
}


/* Gives the file behind @fd, which is locked and which @path names, the name of a
 * temporary too. Returns that name, or NULL with errno set. */
static char *
virStorageTPMFileLink(const char *path,
                      int fd,
                      const char *dir,
                      const char *name,
                      const char *suffix)
{
    size_t i;

    for (i = 0; i < VIR_STORAGE_TPM_TRIES; i++) {
        g_autofree char *linked = virStorageTPMFileTempName(dir, name, suffix);

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
virStorageTPMFileWriteNew(const virStoragePoolDef *pool,
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


virStorageTPMTemp *
virStorageTPMFileSetAside(const virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          int *lock)
{
    g_autoptr(virStorageTPMTemp) temp = g_new0(virStorageTPMTemp, 1);

    temp->fd = -1;

    if (!(temp->path = virStorageTPMFileLink(vol->target.path, *lock, pool->target.path,
                                             vol->name, VIR_STORAGE_TPM_OLD_SUFFIX))) {
        virReportSystemError(errno, _("cannot give '%1$s' a temporary name"), vol->target.path);
        return NULL;
    }

    temp->fd = *lock;
    *lock = -1;
    return g_steal_pointer(&temp);
}


int
virStorageTPMFileOverwrite(int fd)
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
virStorageTPMFileReportOld(int err,
                           const virStoragePoolDef *pool,
                           const char *name,
                           const char *path)
{
    virReportSystemError(err,
                         _("cannot overwrite the old content of TPM volume '%1$s' of pool '%2$s', which is left in '%3$s'"),
                         name, pool->name, path);
}


/* .NAME.XXXXXX.tmptpm or .NAME.XXXXXX.oldtpm, where X is a letter or digit.
 * Returns NAME, or NULL if it is none. */
static char *
virStorageTPMFileTempVolume(const char *name,
                            const char *suffix)
{
    size_t len = strlen(name);
    size_t tail = strlen(".XXXXXX") + strlen(suffix);
    const char *random;
    size_t i;

    if (*name != '.' || len < strlen(".N") + tail ||
        !virStringHasSuffix(name, suffix))
        return NULL;

    random = name + len - tail;
    for (i = 1; i < strlen(".XXXXXX"); i++) {
        if (!g_ascii_isalnum(random[i]))
            return NULL;
    }

    return *random == '.' ? g_strndup(name + 1, random - name - 1) : NULL;
}


/* Overwrites what a file may hold of a TPM's state: all that was set aside for
 * that, and else what is recognised; never what has another name still, as a
 * volume has from which the name of a temporary could not be taken. Returns -1
 * with errno set if that failed. */
static int
virStorageTPMFileSweepContent(int fd,
                              const char *path,
                              bool old)
{
    virTPMState state;
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -1;

    if (sb.st_nlink > 1)
        return 0;

    if (!old) {
        if (virTPMStateProbe(fd, path, &state) < 0) {
            virResetLastError();
            errno = EIO;
            return -1;
        }

        if (!virTPMStateHasState(&state))
            return 0;
    }

    return virStorageTPMFileOverwrite(fd);
}


/* Removes a temporary that nobody is making any more. Returns -1 with errno set if
 * its content could not be overwritten: it is still there then. */
static int
virStorageTPMFileSweepTemp(const char *path,
                           const char *dir,
                           const char *vol,
                           const char *suffix)
{
    g_autofree char *mine = virStorageTPMFileTempName(dir, vol, suffix);
    VIR_AUTOCLOSE fd = -1;
    int rc;

    rc = virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &fd);

    /* it is being made, or gone, or no temporary */
    if (rc == -EAGAIN || rc == -ENOENT || rc == -ELOOP || rc == -ENXIO || rc == -ENODEV)
        return 0;

    if (rc < 0) {
        errno = -rc;
        return -1;
    }

    /* On a shared file system names may be cached: rename the file first. Only one
     * host succeeds. */
    if (virStorageTPMFileRenameNew(path, mine) < 0)
        return errno == ENOENT ? 0 : -1;

    VIR_INFO("removing temporary file '%s', which nobody is making", path);

    if (virStorageTPMFileSweepContent(fd, mine, STREQ(suffix, VIR_STORAGE_TPM_OLD_SUFFIX)) < 0) {
        rc = errno;
        VIR_WARN("cannot overwrite temporary file '%s': %s", path, g_strerror(errno));
        if (virStorageTPMFileRenameNew(mine, path) < 0)
            VIR_WARN("temporary file '%s' is named '%s' now", path, mine);
        errno = rc;
        return -1;
    }

    if (unlink(mine) < 0)
        VIR_WARN("cannot remove temporary file '%s': %s", mine, g_strerror(errno));
    return 0;
}


void
virStorageTPMFileSweep(const char *dir,
                       const char *name)
{
    const char *const suffixes[] = { VIR_STORAGE_TPM_TEMP_SUFFIX, VIR_STORAGE_TPM_OLD_SUFFIX };
    size_t i;

    if (*name != '.')
        return;

    for (i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *vol = virStorageTPMFileTempVolume(name, suffixes[i]);
        g_autofree char *path = NULL;

        if (!vol)
            continue;

        path = g_strdup_printf("%s/%s", dir, name);
        ignore_value(virStorageTPMFileSweepTemp(path, dir, vol, suffixes[i]));
    }
}


int
virStorageTPMFileSweepOld(const virStoragePoolDef *pool,
                          const char *name)
{
    const char *dir = pool->target.path;
    g_autoptr(DIR) dirp = NULL;
    struct dirent *ent;
    int rc;

    if (virDirOpen(&dirp, dir) < 0)
        return -1;

    while ((rc = virDirRead(dirp, &ent, dir)) > 0) {
        g_autofree char *vol = virStorageTPMFileTempVolume(ent->d_name,
                                                           VIR_STORAGE_TPM_OLD_SUFFIX);
        g_autofree char *path = NULL;

        if (STRNEQ_NULLABLE(vol, name))
            continue;

        path = g_strdup_printf("%s/%s", dir, ent->d_name);
        if (virStorageTPMFileSweepTemp(path, dir, vol, VIR_STORAGE_TPM_OLD_SUFFIX) < 0) {
            virStorageTPMFileReportOld(errno, pool, name, path);
            return -1;
        }
    }

    return rc;
}


static char *
virStorageTPMSidecarPath(const virStoragePoolDef *pool,
                         const char *name)
{
    return g_strdup_printf("%s/%s" VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX,
                           pool->target.path, name);
}


/* What of a volume goes into its sidecar. Shares the pointers of @vol. */
static char *
virStorageTPMSidecarFormat(virStoragePoolDef *pool,
                           const virStorageVolDef *vol)
{
    virStorageVolDef def = {
        .name = vol->name,
        .type = VIR_STORAGE_VOL_FILE,
        .target = {
            .capacity = vol->target.capacity,
            .format = vol->target.format,
            .encryption = vol->target.encryption,
        },
        .tpm = vol->tpm,
    };

    return virStorageVolDefFormat(pool, &def);
}


/* Puts a sidecar in the place of one that has no volume. Sets errno to EEXIST if
 * there is a volume, or somebody is making one: whoever does that holds the lock
 * of its sidecar until the volume is there. */
static int
virStorageTPMSidecarReplaceOrphan(virStorageTPMTemp *temp,
                                  const char *path,
                                  const virStorageVolDef *vol)
{
    VIR_AUTOCLOSE orphan = -1;
    struct stat sb;
    int rc = virOFDLockOpen(path, 0, &orphan);

    virOFDLockRevalidateDir(path);
    if (rc == -EAGAIN || g_lstat(vol->target.path, &sb) == 0) {
        errno = EEXIST;
        return -1;
    }

    if (rc < 0) {
        errno = -rc;
        return -1;
    }

    return rename(temp->path, path);
}


/* Gives a sidecar its name, which nobody else takes away from it before its lock
 * is given up. */
static int
virStorageTPMSidecarRename(virStorageTPMTemp *temp,
                           const char *path,
                           const virStorageVolDef *vol)
{
    struct stat sb;
    size_t i;

    if (g_lstat(vol->target.path, &sb) == 0) {
        virStorageTPMFileReportExists(vol->target.path);
        return -1;
    }

    for (i = 0; i < VIR_STORAGE_TPM_TRIES; i++) {
        if (virStorageTPMFileRenameNew(temp->path, path) == 0)
            return 0;

        if (errno != EEXIST)
            break;

        if (virStorageTPMSidecarReplaceOrphan(temp, path, vol) == 0)
            return 0;

        if (errno == EEXIST) {
            virStorageTPMFileReportExists(vol->target.path);
            return -1;
        }

        /* unless the orphan is gone by now */
        if (errno != ENOENT)
            break;
    }

    virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                         temp->path, path);
    return -1;
}


/* What tells whether a volume holds some bytes: their SHA-256 digest in hex. */
static char *
virStorageTPMSidecarDigest(int fd,
                           const char *path)
{
    g_autoptr(virStorageTPMBytes) bytes = virStorageTPMBytesRead(fd, path);

    return bytes ? g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes->data, bytes->len) : NULL;
}


/* Adds to a sidecar how the volume is described once it holds what is in @file:
 *   <replacement sha256='DIGEST'><volume>...</volume></replacement> */
static char *
virStorageTPMSidecarFormatReplacement(virStoragePoolDef *pool,
                                      const char *sidecar,
                                      const virStorageVolDef *next,
                                      const virStorageTPMTemp *file)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    g_autofree char *digest = virStorageTPMSidecarDigest(file->fd, file->path);
    g_autofree char *xml = virStorageTPMSidecarFormat(pool, next);

    if (!digest || !xml)
        return NULL;

    virBufferAdd(&buf, sidecar, -1);
    virBufferTrim(&buf, "</volume>\n");
    virBufferAsprintf(&buf, "<replacement sha256='%s'>\n", digest);
    virBufferAdd(&buf, xml, -1); /* not indented: certificates have lines */
    virBufferAddLit(&buf, "</replacement>\n</volume>\n");

    return virBufferContentAndReset(&buf);
}


/* Writes a sidecar, as yet without its name; with how the volume is described once it
 * holds what is in @file, if @next is not NULL. */
static virStorageTPMTemp *
virStorageTPMSidecarWrite(virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          const virStorageVolDef *next,
                          const virStorageTPMTemp *file)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autofree char *xml = virStorageTPMSidecarFormat(pool, vol);

    if (xml && next) {
        g_autofree char *alone = g_steal_pointer(&xml);

        xml = virStorageTPMSidecarFormatReplacement(pool, alone, next, file);
    }

    if (!xml)
        return NULL;

    if (strlen(xml) > VIR_STORAGE_TPM_SIDECAR_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("description of TPM volume '%1$s' has %2$zu bytes, but at most %3$d are supported"),
                       vol->name, strlen(xml), VIR_STORAGE_TPM_SIDECAR_MAX);
        return NULL;
    }

    if (!(temp = virStorageTPMTempNew(pool->target.path, vol->name, NULL)) ||
        virStorageTPMTempWriteData(temp, xml, strlen(xml)) < 0)
        return NULL;

    temp->content = VIR_STORAGE_TPM_CONTENT_SIDECAR;
    return g_steal_pointer(&temp);
}


virStorageTPMTemp *
virStorageTPMSidecarPlace(virStoragePoolDef *pool,
                          const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol, NULL, NULL);

    if (!temp || virStorageTPMSidecarRename(temp, path, vol) < 0)
        return NULL;

    g_free(temp->path);
    temp->path = g_steal_pointer(&path);
    return g_steal_pointer(&temp);
}


int
virStorageTPMSidecarAnnounce(virStoragePoolDef *pool,
                             const virStorageVolDef *vol,
                             const virStorageVolDef *next,
                             const virStorageTPMTemp *file)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol, next, file);

    return temp ? virStorageTPMTempReplace(temp, path) : -1;
}


int
virStorageTPMSidecarReplace(virStoragePoolDef *pool,
                            const virStorageVolDef *vol)
{
    return virStorageTPMSidecarAnnounce(pool, vol, NULL, NULL);
}


/* Checks that nobody but the directory's owner or this daemon could have written the
 * sidecar. Returns 0, or -1 with errno set. */
static int
virStorageTPMSidecarCheckOwner(const virStoragePoolDef *pool,
                               const struct stat *sb)
{
    struct stat dir;

    if (sb->st_mode & S_IWOTH) {
        errno = EPERM;
        return -1;
    }

    if (sb->st_uid == geteuid())
        return 0;

    if (stat(pool->target.path, &dir) < 0)
        return -1;

    if (sb->st_uid != dir.st_uid) {
        errno = EPERM;
        return -1;
    }

    return 0;
}


/* Returns the sidecar's text, or NULL with errno set. */
static char *
virStorageTPMSidecarLoad(const virStoragePoolDef *pool,
                         const char *path)
{
    g_autofree char *xml = NULL;
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    if ((fd = virOFDLockOpenFile(path, O_RDONLY, &sb)) < 0 ||
        virStorageTPMSidecarCheckOwner(pool, &sb) < 0 ||
        virFileReadLimFD(fd, VIR_STORAGE_TPM_SIDECAR_MAX, &xml) < 0)
        return NULL;

    return g_steal_pointer(&xml);
}


static int
virStorageTPMSidecarParseCapacity(xmlNodePtr root,
                                  virStorageVolDef *def)
{
    xmlNodePtr node = virXMLNodeGetSubelement(root, "capacity");
    g_autofree char *capacity = NULL;

    if (!node)
        return 0;

    /* always in bytes */
    capacity = virXMLNodeContentString(node);
    if (capacity && virStrToLong_ullp(capacity, NULL, 10, &def->target.capacity) == 0)
        return 0;

    virReportError(VIR_ERR_XML_ERROR, "%s", _("malformed capacity element"));
    return -1;
}


static int
virStorageTPMSidecarParseTarget(xmlNodePtr root,
                                virStorageVolDef *def)
{
    xmlNodePtr target = virXMLNodeGetSubelement(root, "target");
    g_autoptr(xmlXPathContext) ctxt = NULL;
    unsigned int format = VIR_STORAGE_FILE_RAW;
    xmlNodePtr node;

    if (!target)
        return 0;

    if ((node = virXMLNodeGetSubelement(target, "format")) &&
        virXMLPropEnum(node, "type", virStorageFileFormatTypeFromString,
                       VIR_XML_PROP_REQUIRED, &format) < 0)
        return -1;
    def->target.format = format;

    if (!(node = virXMLNodeGetSubelement(target, "encryption")))
        return 0;

    if (!(ctxt = xmlXPathNewContext(root->doc)) ||
        !(def->target.encryption = virStorageEncryptionParseNode(node, ctxt)))
        return -1;

    return 0;
}


/* virStorageVolDefParse() would look for much that a sidecar never has, each
 * time that a volume is looked at. */
static virStorageVolDef *
virStorageTPMSidecarParse(const virStoragePoolDef *pool,
                          xmlNodePtr root)
{
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);
    xmlNodePtr node;

    if (!(node = virXMLNodeGetSubelement(root, "name"))) {
        virReportError(VIR_ERR_XML_ERROR, "%s", _("missing volume name element"));
        return NULL;
    }

    def->type = VIR_STORAGE_VOL_FILE;

    if (!(def->name = virXMLNodeContentString(node)) ||
        virStorageTPMSidecarParseCapacity(root, def) < 0 ||
        virStorageTPMSidecarParseTarget(root, def) < 0 ||
        virStorageVolTPMDefParse(pool, root, def) < 0)
        return NULL;

    return g_steal_pointer(&def);
}


/* Whether a volume holds the bytes of which a sidecar has the digest. Returns -1 with
 * an error reported if they cannot be read. */
static int
virStorageTPMSidecarIsReplaced(const char *path,
                               const char *digest)
{
    g_autofree char *found = NULL;
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    if ((fd = virOFDLockOpenFile(path, O_RDONLY, &sb)) < 0) {
        if (errno == ENOENT)
            return 0;
        virReportSystemError(errno, _("cannot open '%1$s'"), path);
        return -1;
    }

    found = virStorageTPMSidecarDigest(fd, path);
    return found ? STREQ(found, digest) : -1;
}


/* What the descriptions in a sidecar are. */
typedef enum {
    VIR_STORAGE_TPM_SIDECAR_ONE,      /* there is but one */
    VIR_STORAGE_TPM_SIDECAR_FORMER,   /* of two, the former holds: the volume was not replaced */
    VIR_STORAGE_TPM_SIDECAR_REPLACED, /* of two, that of the replacement holds */
} virStorageTPMSidecarDescriptions;


/* Sets @volume to the <volume> that describes the volume. Returns which that is, a
 * virStorageTPMSidecarDescriptions, or -1 with an error reported. */
static int
virStorageTPMSidecarChoose(xmlNodePtr root,
                           const char *path,
                           xmlNodePtr *volume)
{
    xmlNodePtr node = virXMLNodeGetSubelement(root, "replacement");
    g_autofree char *digest = node ? virXMLPropString(node, "sha256") : NULL;
    xmlNodePtr next = node ? virXMLNodeGetSubelement(node, "volume") : NULL;
    int rc;

    *volume = root;

    if (!digest || !next)
        return VIR_STORAGE_TPM_SIDECAR_ONE;

    if ((rc = virStorageTPMSidecarIsReplaced(path, digest)) < 0)
        return -1;

    if (rc == 0)
        return VIR_STORAGE_TPM_SIDECAR_FORMER;

    *volume = next;
    return VIR_STORAGE_TPM_SIDECAR_REPLACED;
}


/* Whether an error of virStorageTPMSidecarLoad() says that there is no sidecar, or
 * none that is taken; others do not tell what it is. Whoever is about to write one
 * does not replace one that only has the wrong owner or mode. */
static bool
virStorageTPMSidecarIsLost(int err,
                           bool writer)
{
    if (err == EPERM || err == EACCES)
        return !writer;

    return err == ENOENT || err == ENOTDIR || err == EISDIR || err == ELOOP ||
        err == ENXIO || err == ENODEV || err == EOVERFLOW;
}


static void
virStorageTPMSidecarReportUnread(int err,
                                 const char *path,
                                 const char *name,
                                 const virStoragePoolDef *pool)
{
    struct stat sb;

    if (err == EPERM && g_lstat(path, &sb) == 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("description '%1$s' of TPM volume '%2$s' of pool '%3$s' belongs to user %4$u and has mode 0%5$o: change its owner to that of the pool's directory, and its mode so that others cannot write to it"),
                       path, name, pool->name, (unsigned int)sb.st_uid, sb.st_mode & 07777);
        return;
    }

    virReportSystemError(err,
                         _("cannot read description '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                         path, name, pool->name);
}


/* As virStorageTPMSidecarRead(), but a sidecar that has two descriptions keeps both.
 * Returns a virStorageTPMSidecarDescriptions, or -1 with an error reported. */
static int
virStorageTPMSidecarReadOnce(const virStoragePoolDef *pool,
                             const char *name,
                             bool writer,
                             virStorageVolDef **def)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, name);
    g_autofree char *volpath = g_strdup_printf("%s/%s", pool->target.path, name);
    g_autofree char *xml = virStorageTPMSidecarLoad(pool, path);
    g_autoptr(xmlDoc) doc = NULL;
    xmlNodePtr volume;
    int rc = 0;

    g_clear_pointer(def, virStorageVolDefFree);

    if (!xml && !virStorageTPMSidecarIsLost(errno, writer)) {
        virStorageTPMSidecarReportUnread(errno, path, name, pool);
        return -1;
    }

    if (!xml) {
        VIR_WARN("TPM volume '%s' of pool '%s' has no description '%s' that can be used: %s",
                 name, pool->name, path, g_strerror(errno));
        return 0;
    }

    doc = virXMLParse(NULL, xml, _("(storage_volume_definition)"), "volume", NULL, NULL, false);

    if (doc && (rc = virStorageTPMSidecarChoose(xmlDocGetRootElement(doc), volpath, &volume)) < 0)
        return -1;

    if (!doc || !(*def = virStorageTPMSidecarParse(pool, volume))) {
        VIR_WARN("description '%s' of TPM volume '%s' of pool '%s' is corrupt: %s",
                 path, name, pool->name, virGetLastErrorMessage());
        virResetLastError();
        return 0;
    }

    /* one that was copied by hand has the name of another volume, whose sidecar
     * must not be written in place of this one */
    g_free((*def)->name);
    (*def)->name = g_strdup(name);
    return rc;
}


/* Of two descriptions leaves that which holds, under the lock of the volume, which may be
 * the caller's. Returns 0 if that is done, or cannot be done here; 1 if somebody else has
 * the lock; -1 with an error reported. */
static int
virStorageTPMSidecarSettle(virStoragePoolDef *pool,
                           const char *name,
                           int lock,
                           virStorageVolDef **def)
{
    g_autofree char *path = g_strdup_printf("%s/%s", pool->target.path, name);
    VIR_AUTOCLOSE own = -1;
    int rc;

    if (lock < 0 && (rc = virOFDLockOpen(path, 0, &own)) < 0)
        return rc == -EAGAIN ? 1 : 0;

    if ((rc = virStorageTPMSidecarReadOnce(pool, name, lock >= 0, def)) <= VIR_STORAGE_TPM_SIDECAR_ONE)
        return rc;

    return virStorageTPMSidecarReplace(pool, *def);
}


int
virStorageTPMSidecarRead(virStoragePoolDef *pool,
                         const char *name,
                         int lock,
                         virStorageVolDef **def)
{
    const gint64 until = g_get_monotonic_time() + VIR_STORAGE_TPM_SIDECAR_WAIT;
    const bool writer = lock >= 0;
    int rc;

    *def = NULL;

    while ((rc = virStorageTPMSidecarReadOnce(pool, name, writer, def)) > VIR_STORAGE_TPM_SIDECAR_ONE) {
        int settled;

        /* it holds for as long as the volume is not replaced */
        if (!writer && rc == VIR_STORAGE_TPM_SIDECAR_FORMER)
            return 0;

        if ((settled = virStorageTPMSidecarSettle(pool, name, lock, def)) <= 0)
            return settled;

        /* Whoever replaced the volume is about to settle it. Nobody may use the volume
         * before: once a guest writes, it no longer tells that it was replaced. */
        if (g_get_monotonic_time() > until) {
            virReportError(VIR_ERR_RESOURCE_BUSY,
                           _("TPM volume '%1$s' of pool '%2$s' is being replaced by an upload: try again"),
                           name, pool->name);
            return -1;
        }
    }

    return rc;
}


/* Takes the lock of a volume's sidecar, so that nobody makes a volume of that name
 * meanwhile. Returns whether the sidecar may be removed: it is locked, or none that
 * a volume could be made with. */
static bool
virStorageTPMSidecarLock(const char *path,
                         int *fd)
{
    int rc = virOFDLockOpen(path, 0, fd);

    if (rc < 0 && rc != -ENOENT && rc != -ENODEV && rc != -ELOOP && rc != -ENXIO && rc != -EISDIR)
        VIR_WARN("leaving file '%s' in place: it cannot be locked: %s", path, g_strerror(-rc));

    return rc == 0 || rc == -ENODEV || rc == -ELOOP || rc == -ENXIO || rc == -EISDIR;
}


int
virStorageTPMFileRemove(const virStoragePoolDef *pool,
                        const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    VIR_AUTOCLOSE fd = -1;
    bool sidecar = virStorageTPMSidecarLock(path, &fd);

    if (unlink(vol->target.path) < 0) {
        virReportSystemError(errno, _("cannot remove volume '%1$s'"),
                             vol->target.path);
        return -1;
    }

    if (sidecar && unlink(path) < 0)
        VIR_WARN("cannot remove file '%s': %s", path, g_strerror(errno));

    virStorageTPMFileSyncDir(pool->target.path);
    return 0;
}


virStorageVolDef *
virStorageTPMSidecarDescribe(const char *name,
                             const virTPMState *state)
{
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);

    def->name = g_strdup(name);
    def->target.format = VIR_STORAGE_FILE_RAW;
    def->target.capacity = VIR_STORAGE_VOL_TPM_CAPACITY_DEFAULT;
    def->tpm = g_new0(virStorageVolTPMDef, 1);
    def->tpm->version = virStorageVolTPMVersionFromState(state->version);

    if (virUUIDGenerate(def->tpm->uuid) < 0)
        return NULL;
    def->tpm->hasuuid = true;

    return g_steal_pointer(&def);
}


/* Locks and probes a volume that may need a sidecar. Returns 1 if it holds TPM state,
 * 0 if not or if it is in use: it is described when it no longer is; -1 with an error
 * reported. */
static int
virStorageTPMSidecarProbe(const char *path,
                          int *lock,
                          virTPMState *state)
{
    if (virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, lock) < 0)
        return 0;

    if (virTPMStateProbe(*lock, path, state) < 0)
        return -1;

    return state->kind == VIR_TPM_STATE_LINEAR;
}


/* Gives a complete sidecar its name, if the volume still is what @before tells and has
 * none. Returns 1 if so, 0 if not, -1 with an error reported. */
static int
virStorageTPMSidecarAddName(virStorageTPMTemp *temp,
                            const char *sidecar,
                            const char *path,
                            const virTPMState *before)
{
    VIR_AUTOCLOSE lock = -1;
    virTPMState state;
    int rc;

    if ((rc = virStorageTPMSidecarProbe(path, &lock, &state)) <= 0)
        return rc;

    if (state.version != before->version)
        return 0;

    if (virStorageTPMFileRenameNew(temp->path, sidecar) < 0) {
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
virStorageTPMSidecarAdd(virStoragePoolDef *pool,
                        const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s", pool->target.path, name);
    g_autofree char *sidecar = virStorageTPMSidecarPath(pool, name);
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autoptr(virStorageVolDef) def = NULL;
    VIR_AUTOCLOSE lock = -1;
    virTPMState state;
    int rc;

    if ((rc = virStorageTPMSidecarProbe(path, &lock, &state)) <= 0)
        return rc;

    /* a guest that starts meanwhile must not wait for the disk */
    VIR_FORCE_CLOSE(lock);

    if (!(def = virStorageTPMSidecarDescribe(name, &state)) ||
        !(temp = virStorageTPMSidecarWrite(pool, def, NULL, NULL)))
        return -1;

    if ((rc = virStorageTPMSidecarAddName(temp, sidecar, path, &state)) <= 0)
        return rc;

    virStorageTPMFileSyncDir(pool->target.path);
    VIR_INFO("TPM volume '%s' of pool '%s' had no description, and got '%s' with a new identity",
             name, pool->name, sidecar);
    return 0;
}


void
virStorageTPMSidecarRemoveOrphan(const virStoragePoolDef *pool,
                                 const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    if (!virStorageTPMSidecarLock(path, &fd))
        return;

    virOFDLockRevalidateDir(path);
    if (g_lstat(vol->target.path, &sb) == 0 || errno != ENOENT)
        return;

    if (unlink(path) < 0)
        VIR_WARN("cannot remove file '%s': %s", path, g_strerror(errno));

    virStorageTPMFileSyncDir(pool->target.path);
}
