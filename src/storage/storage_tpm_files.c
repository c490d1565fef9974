/*
 * storage_tpm_files.c: the files of a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_files.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virsecureerase.h"
#include "virstring.h"
#include "virtpmstate.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_files");

#define VIR_STORAGE_TPM_SIDECAR_MAX (64 * 1024)
#define VIR_STORAGE_TPM_TEMP_SUFFIX ".tmptpm"


bool
virStorageTPMFileIsVolume(const char *name)
{
    g_autofree char *escaped = NULL;

    switch (virStorageVolTPMNameJudge(name)) {
    case VIR_STORAGE_VOL_TPM_NAME_GOOD:
        return true;

    case VIR_STORAGE_VOL_TPM_NAME_LONG:
    case VIR_STORAGE_VOL_TPM_NAME_CHARACTER:
        escaped = g_strescape(name, NULL);
        VIR_WARN("ignoring file '%s' in a tpm pool: a volume cannot have that name", escaped);
        return false;

    case VIR_STORAGE_VOL_TPM_NAME_EMPTY:
    case VIR_STORAGE_VOL_TPM_NAME_DOT:
    case VIR_STORAGE_VOL_TPM_NAME_SIDECAR:
        break;
    }

    return false;
}


int
virStorageTPMFileOpen(const char *path,
                      struct stat *sb)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int ret;

    if (fd < 0 || fstat(fd, sb) < 0)
        return -1;

    if (!S_ISREG(sb->st_mode)) {
        errno = EINVAL;
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
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
virStorageTPMBytesRead(int fd,
                       const char *path)
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
                       _("'%1$s' has %2$lld bytes: that is no TPM state, which has at most %3$llu"),
                       path, (long long)size, VIR_TPM_STATE_MAX_SIZE);
        return NULL;
    }

    bytes->data = g_new0(uint8_t, size);
    if ((got = saferead(fd, bytes->data, size)) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), path);
        return NULL;
    }
    bytes->len = got;

    return g_steal_pointer(&bytes);
}


int
virStorageTPMBytesToMemory(const virStorageTPMBytes *bytes)
{
    VIR_AUTOCLOSE fd = memfd_create("tpm", MFD_CLOEXEC);
    int ret;

    if (fd < 0 ||
        (bytes && safewrite(fd, bytes->data, bytes->len) < 0)) {
        virReportSystemError(errno, "%s", _("cannot get memory for the state of a TPM"));
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
virStorageTPMBytesTry(const char *path,
                      const char *pool,
                      const char *vol,
                      virStorageTPMBytes **bytes)
{
    struct stat sb;
    VIR_AUTOCLOSE fd = virStorageTPMFileOpen(path, &sb);

    *bytes = NULL;

    if (fd < 0) {
        virReportSystemError(errno, _("cannot open TPM volume '%1$s' of pool '%2$s'"),
                             vol, pool);
        return -1;
    }

    if (virTPMStateLockShared(fd) < 0) {
        *bytes = virStorageTPMBytesReadTwice(fd, path);
        virResetLastError();
        return 0;
    }

    /* what was replaced may have been overwritten since */
    if (!virTPMStateIsAt(fd, path))
        return 0;

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
        if (virStorageTPMBytesTry(path, pool, vol, &bytes) < 0)
            return NULL;
    } while (!bytes && g_get_monotonic_time() < until);

    if (bytes)
        return bytes;

    virReportError(VIR_ERR_RESOURCE_BUSY,
                   _("TPM volume '%1$s' of pool '%2$s' is in use, and no whole copy of it could be read within 5 seconds: pause the guest with suspend, and try again"),
                   vol, pool);
    return NULL;
}


static int
virStorageTPMFileSyncDir(const char *dir)
{
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0) {
        virReportSystemError(errno, _("cannot sync directory '%1$s'"), dir);
        return -1;
    }

    return 0;
}


void
virStorageTPMTempFree(virStorageTPMTemp *temp)
{
    if (!temp)
        return;

    /* while it is locked: nobody else may remove it */
    if (temp->path && unlink(temp->path) < 0 && errno != ENOENT)
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
virStorageTPMTempTry(const char *dir,
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

    if ((rc = virTPMStateLock(made->fd)) < 0 && rc != -EAGAIN) {
        virReportSystemError(-rc, _("cannot lock file '%1$s'"), made->path);
        return -1;
    }

    if (rc == 0 && virTPMStateIsAt(made->fd, made->path))
        *temp = g_steal_pointer(&made);

    return 0;
}


virStorageTPMTemp *
virStorageTPMTempNew(const char *dir,
                     const char *name,
                     const virStoragePerms *perms)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;

    while (!temp) {
        if (virStorageTPMTempTry(dir, name, &temp) < 0)
            return NULL;
    }

    if (virStorageTPMTempSetPerms(temp, perms) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


int
virStorageTPMTempWrite(virStorageTPMTemp *temp,
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


/* rename() that does not replace, also where the file system lacks it. */
static int
virStorageTPMFileRenameNew(const char *from,
                           const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;

    if ((errno != EINVAL && errno != ENOSYS) || link(from, to) < 0)
        return -1;

    /* the new name counts; the old one is swept one day */
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

    if (virStorageTPMFileRenameNew(temp->path, path) < 0) {
        if (errno == EEXIST)
            virStorageTPMFileReportExists(path);
        else
            virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                                 temp->path, path);
        return -1;
    }

    /* from now on it is that name which goes if this fails */
    g_free(temp->path);
    temp->path = g_strdup(path);

    if (virStorageTPMFileSyncDir(dir) < 0)
        return -1;

    g_clear_pointer(&temp->path, g_free);
    return 0;
}


int
virStorageTPMTempReplace(virStorageTPMTemp *temp,
                         const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    if (rename(temp->path, path) < 0) {
        virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                             temp->path, path);
        return -1;
    }

    g_clear_pointer(&temp->path, g_free);
    return virStorageTPMFileSyncDir(dir);
}


virStorageTPMTemp *
virStorageTPMFileReplace(const virStoragePoolDef *pool,
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
        virStorageTPMTempWrite(temp, bytes ? bytes->data : NULL,
                               bytes ? bytes->len : 0) < 0 ||
        virStorageTPMTempReplace(temp, vol->target.path) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


virStorageTPMTemp *
virStorageTPMFileSetAside(const virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          int *lock)
{
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNew(pool->target.path,
                                                             vol->name, NULL);

    if (!temp)
        return NULL;

    /* only the name is wanted */
    if (unlink(temp->path) < 0 || link(vol->target.path, temp->path) < 0) {
        virReportSystemError(errno, _("cannot give '%1$s' the name '%2$s'"),
                             vol->target.path, temp->path);
        return NULL;
    }

    VIR_FORCE_CLOSE(temp->fd);
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

    if (sb.st_nlink > 1)
        return 0;

    /* what is larger is no TPM state */
    for (left = MIN(sb.st_size, VIR_TPM_STATE_MAX_SIZE); left > 0; left -= sizeof(zeros)) {
        if (safewrite(fd, zeros, MIN(left, sizeof(zeros))) < 0)
            return -1;
    }

    return fsync(fd);
}


int
virStorageTPMFileRemove(const virStoragePoolDef *pool,
                        const virStorageVolDef *vol)
{
    if (unlink(vol->target.path) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot remove volume '%1$s'"),
                             vol->target.path);
        return -1;
    }

    virStorageTPMSidecarRemove(pool, vol->name);
    return virStorageTPMFileSyncDir(pool->target.path);
}


/* .NAME.XXXXXX.tmptpm, where X is a letter or digit */
static bool
virStorageTPMFileIsTemp(const char *name)
{
    size_t len = strlen(name);
    size_t suffix = strlen(VIR_STORAGE_TPM_TEMP_SUFFIX);
    const char *random;
    size_t i;

    if (*name != '.' || len < suffix + strlen(".N.XXXXXX") ||
        !virStringHasSuffix(name, VIR_STORAGE_TPM_TEMP_SUFFIX))
        return false;

    random = name + len - suffix - strlen("XXXXXX");
    for (i = 0; i < strlen("XXXXXX"); i++) {
        if (!g_ascii_isalnum(random[i]))
            return false;
    }

    return random[-1] == '.';
}


/* Opens a file and takes its lock, if nobody holds it; -1 with errno else. */
static int
virStorageTPMFileOpenForgotten(const char *path)
{
    VIR_AUTOCLOSE fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat sb;
    int ret;

    if (fd < 0 || fstat(fd, &sb) < 0)
        return -1;

    if (!S_ISREG(sb.st_mode)) {
        errno = EINVAL;
        return -1;
    }

    if ((ret = virTPMStateLock(fd)) < 0) {
        errno = -ret;
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


void
virStorageTPMFileSweep(const char *dir,
                       const char *name)
{
    g_autofree char *path = NULL;
    VIR_AUTOCLOSE fd = -1;

    if (!virStorageTPMFileIsTemp(name))
        return;

    path = g_strdup_printf("%s/%s", dir, name);

    if ((fd = virStorageTPMFileOpenForgotten(path)) < 0)
        return;

    VIR_INFO("removing temporary file '%s', which nobody is making", path);
    if (virStorageTPMFileOverwrite(fd) < 0)
        VIR_WARN("cannot overwrite temporary file '%s': %s", path, g_strerror(errno));
    if (unlink(path) < 0)
        VIR_WARN("cannot remove temporary file '%s': %s", path, g_strerror(errno));
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


/* Gives a sidecar its name, in place of one that has no volume. */
static int
virStorageTPMSidecarRename(virStorageTPMTemp *temp,
                           const char *path,
                           const virStorageVolDef *vol)
{
    VIR_AUTOCLOSE orphan = -1;
    struct stat sb;

    if (virStorageTPMFileRenameNew(temp->path, path) == 0)
        return 0;

    if (errno == EEXIST) {
        /* whoever makes a volume holds the lock of its sidecar until the
         * volume is there */
        orphan = virStorageTPMFileOpenForgotten(path);
        if ((orphan < 0 && errno == EAGAIN) || g_lstat(vol->target.path, &sb) == 0) {
            virStorageTPMFileReportExists(vol->target.path);
            return -1;
        }
        if (rename(temp->path, path) == 0)
            return 0;
    }

    virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                         temp->path, path);
    return -1;
}


/* Writes a sidecar, as yet without its name. */
static virStorageTPMTemp *
virStorageTPMSidecarWrite(virStoragePoolDef *pool,
                          const virStorageVolDef *vol)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autofree char *xml = virStorageTPMSidecarFormat(pool, vol);

    if (!xml)
        return NULL;

    if (strlen(xml) > VIR_STORAGE_TPM_SIDECAR_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the description of TPM volume '%1$s' has %2$zu bytes: at most %3$d are possible"),
                       vol->name, strlen(xml), VIR_STORAGE_TPM_SIDECAR_MAX);
        return NULL;
    }

    if (!(temp = virStorageTPMTempNew(pool->target.path, vol->name, NULL)) ||
        virStorageTPMTempWrite(temp, xml, strlen(xml)) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


virStorageTPMTemp *
virStorageTPMSidecarPlace(virStoragePoolDef *pool,
                          const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol);

    if (!temp || virStorageTPMSidecarRename(temp, path, vol) < 0)
        return NULL;

    g_clear_pointer(&temp->path, g_free);
    return g_steal_pointer(&temp);
}


int
virStorageTPMSidecarReplace(virStoragePoolDef *pool,
                            const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol);

    return temp ? virStorageTPMTempReplace(temp, path) : -1;
}


/* Whether only those could write it who may. Returns 0, or -1 with errno set. */
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

    if ((fd = virStorageTPMFileOpen(path, &sb)) < 0 ||
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
                          const char *xml)
{
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);
    g_autoptr(xmlDoc) doc = NULL;
    xmlNodePtr root;
    xmlNodePtr node;

    if (!(doc = virXMLParse(NULL, xml, _("(storage_volume_definition)"),
                            "volume", NULL, NULL, false)))
        return NULL;

    root = xmlDocGetRootElement(doc);
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


virStorageVolDef *
virStorageTPMSidecarRead(virStoragePoolDef *pool,
                         const char *name)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, name);
    g_autofree char *xml = virStorageTPMSidecarLoad(pool, path);
    g_autoptr(virStorageVolDef) def = NULL;

    if (!xml) {
        VIR_WARN("TPM volume '%s' of pool '%s' has no sidecar that can be used, '%s': %s",
                 name, pool->name, path, g_strerror(errno));
        return NULL;
    }

    if (!(def = virStorageTPMSidecarParse(pool, xml))) {
        VIR_WARN("the sidecar of TPM volume '%s' of pool '%s', '%s', is corrupt: %s",
                 name, pool->name, path, virGetLastErrorMessage());
        virResetLastError();
        return NULL;
    }

    return g_steal_pointer(&def);
}


void
virStorageTPMSidecarRemove(const virStoragePoolDef *pool,
                           const char *name)
{
    g_autofree char *path = virStorageTPMSidecarPath(pool, name);

    if (unlink(path) < 0 && errno != ENOENT)
        VIR_WARN("cannot remove file '%s': %s", path, g_strerror(errno));
}
