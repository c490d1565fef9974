/*
 * qemu_tpm_path.c: refuse TPM volumes that are named by a path, and lock TPM
 * state in a file of the user's choice
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datatypes.h"
#include "domain_conf_tpm.h"
#include "qemu_domain.h"
#include "qemu_tpm_path.h"
#include "storage_conf.h"
#include "storage_conf_tpm.h"
#include "viralloc.h"
#include "virfile.h"
#include "viridentity.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virstring.h"
#include "virtpm.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_path");

/* The first byte that is locked: libvirt's security drivers lock the ones before
 * for a moment when they set a label. */
#define QEMU_TPM_PATH_LOCK_START 2

/* How many symbolic links in a path are followed. */
#define QEMU_TPM_PATH_LINKS_MAX 40

typedef struct _qemuTPMPathMount qemuTPMPathMount;
struct _qemuTPMPathMount {
    char *point;
    char *device; /* "major:minor", the same wherever the file system is mounted */
    bool local;   /* whether the file system needs no server, which might not answer */
    bool same;    /* whether the file that is looked for may be on the file system */
};

/* Where a path is in a pool. */
typedef struct _qemuTPMPathPlace qemuTPMPathPlace;
struct _qemuTPMPathPlace {
    char *pool;   /* NULL if it is in none that is known */
    char *volume; /* NULL if it is the pool's directory, or one above it */
    bool unsure;  /* whether it may be in a pool that could not be looked at */
};

/* What is known while a path is resolved. */
typedef struct _qemuTPMPathWalk qemuTPMPathWalk;
struct _qemuTPMPathWalk {
    GPtrArray *mounts; /* NULL if every file system may be touched */
    size_t links;      /* how many more symbolic links are followed */
    bool unsure;       /* whether there may be more of them */
};


static void
qemuTPMPathPlaceClear(qemuTPMPathPlace *place)
{
    g_clear_pointer(&place->pool, g_free);
    g_clear_pointer(&place->volume, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(qemuTPMPathPlace, qemuTPMPathPlaceClear);


static void
qemuTPMPathMountFree(qemuTPMPathMount *mount)
{
    g_free(mount->point);
    g_free(mount->device);
    g_free(mount);
}


/* Returns what a line of mountinfo says, or NULL. Such as "36 35 98:0 /root /point
 * rw,noatime shared:1 - ext4 /dev/sda1 rw", where a point may have octal escapes. */
static qemuTPMPathMount *
qemuTPMPathParseMount(const char *line)
{
    const char *local[] = { "btrfs", "overlay", "ramfs", "tmpfs", "zfs", NULL };
    g_auto(GStrv) words = g_strsplit(line, " ", 6);
    const char *type = strstr(line, " - ");
    g_auto(GStrv) rest = NULL;
    qemuTPMPathMount *mount;

    if (g_strv_length(words) < 6 || !type)
        return NULL;

    rest = g_strsplit(type + strlen(" - "), " ", 2);
    mount = g_new0(qemuTPMPathMount, 1);
    mount->device = g_strdup(words[2]);
    mount->point = g_strcompress(words[4]);
    /* the major number is 0 if there is no block device */
    mount->local = !STRPREFIX(mount->device, "0:") || g_strv_contains(local, rest[0]);
    return mount;
}


/* Returns @path below @dir, both without symbolic links: without the slash between
 * them, and empty if both are the same. NULL if it is not below. */
static const char *
qemuTPMPathSkipDir(const char *path,
                   const char *dir)
{
    const char *rest = STREQ(dir, "/") ? path : STRSKIP(path, dir);

    if (!rest || (*rest && *rest != '/'))
        return NULL;

    return *rest ? rest + 1 : rest;
}


/* Returns the mount that @path, which has no symbolic links, is on, without touching
 * it; NULL if that is not known. */
static qemuTPMPathMount *
qemuTPMPathFindMount(GPtrArray *mounts,
                     const char *path)
{
    qemuTPMPathMount *found = NULL;
    size_t i;

    /* the last of those at one point hides the others */
    for (i = 0; i < mounts->len; i++) {
        qemuTPMPathMount *mount = g_ptr_array_index(mounts, i);

        if (qemuTPMPathSkipDir(path, mount->point) &&
            (!found || strlen(mount->point) >= strlen(found->point)))
            found = mount;
    }

    return found;
}


/* Returns what is mounted, in this order, to look for @path, which has no symbolic
 * links; nothing if that cannot be read. */
static GPtrArray *
qemuTPMPathGetMounts(const char *path)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func((GDestroyNotify) qemuTPMPathMountFree);
    const qemuTPMPathMount *own = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t i;

    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return mounts;

    lines = g_strsplit(text, "\n", -1);

    for (i = 0; lines[i]; i++) {
        qemuTPMPathMount *mount = qemuTPMPathParseMount(lines[i]);

        if (mount)
            g_ptr_array_add(mounts, mount);
    }

    own = qemuTPMPathFindMount(mounts, path);

    for (i = 0; i < mounts->len; i++) {
        qemuTPMPathMount *mount = g_ptr_array_index(mounts, i);

        mount->same = !own || STREQ(mount->device, own->device);
    }

    return mounts;
}


/* Whether @path, whose directory has no symbolic links, can be one, and be read. A
 * file system that might not answer is not touched; where it is mounted there is a
 * directory. */
static bool
qemuTPMPathMayRead(qemuTPMPathWalk *walk,
                   const char *path)
{
    const qemuTPMPathMount *mount = NULL;

    if (walk->mounts)
        mount = qemuTPMPathFindMount(walk->mounts, path);

    if (!mount || mount->same || mount->local)
        return true;

    if (STRNEQ(mount->point, path))
        walk->unsure = true;

    return false;
}


/* Returns @path without symbolic links, where a relative one begins in @dir, which
 * has none. Every link counts, also one to what does not exist yet. */
static char *
qemuTPMPathFollow(qemuTPMPathWalk *walk,
                  const char *dir,
                  const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    char *at = g_strdup(g_path_is_absolute(path) ? "/" : dir);
    size_t i;

    for (i = 0; names[i]; i++) {
        g_autofree char *parent = at;
        g_autofree char *link = NULL;

        if (STREQ(names[i], "..")) {
            at = g_path_get_dirname(parent);
            continue;
        }

        /* an empty name, of two slashes or one at the end, is as good as "." */
        at = g_build_filename(parent, STREQ(names[i], ".") ? "" : names[i], NULL);

        if (!qemuTPMPathMayRead(walk, at) || !(link = g_file_read_link(at, NULL)))
            continue;

        if (walk->links == 0) {
            walk->unsure = true;
            continue;
        }

        walk->links--;
        g_free(at);
        at = qemuTPMPathFollow(walk, parent, link);
    }

    return at;
}


/* Returns @path without symbolic links. */
static char *
qemuTPMPathResolve(const char *path)
{
    qemuTPMPathWalk walk = { .links = QEMU_TPM_PATH_LINKS_MAX };
    g_autofree char *dir = g_get_current_dir();

    return qemuTPMPathFollow(&walk, dir, path);
}


/* Returns @path without symbolic links, as far as no file system is touched that
 * might not answer. Sets @unsure if there may be more links. */
static char *
qemuTPMPathResolveSafely(GPtrArray *mounts,
                         const char *path,
                         bool *unsure)
{
    qemuTPMPathWalk walk = { .mounts = mounts, .links = QEMU_TPM_PATH_LINKS_MAX };
    char *resolved = qemuTPMPathFollow(&walk, "/", path);

    if (walk.unsure)
        *unsure = true;

    return resolved;
}


/* Whether the file that is looked for may be where @path, which has no symbolic
 * links, is: all names of a file are on one file system. */
static bool
qemuTPMPathMayBeOn(GPtrArray *mounts,
                   const char *path)
{
    const qemuTPMPathMount *mount = qemuTPMPathFindMount(mounts, path);

    return !mount || mount->same;
}


/* Whether @path is @dir or below it, whatever the names that lead there. Sets
 * @first to the component of @path that is directly in @dir, or to NULL. */
static bool
qemuTPMPathIsWithin(GPtrArray *mounts,
                    const char *path,
                    const struct stat *dir,
                    char **first)
{
    g_autofree char *at = g_strdup(path);

    while (true) {
        g_autofree char *parent = g_path_get_dirname(at);
        struct stat st;

        if (qemuTPMPathMayBeOn(mounts, at) &&
            stat(at, &st) == 0 && virOFDLockIsSameFile(&st, dir))
            return true;

        if (STREQ(parent, at))
            return false;

        g_free(*first);
        *first = g_path_get_basename(at);
        g_free(at);
        at = g_steal_pointer(&parent);
    }
}


/* Returns the name in @dirpath of the file that @st is about, or NULL: it may
 * have another name outside, by a hard link or a bind mount. */
static char *
qemuTPMPathFindName(const char *dirpath,
                    const struct stat *dir,
                    const struct stat *st)
{
    g_autoptr(DIR) handle = NULL;
    struct dirent *ent;

    if (!S_ISREG(st->st_mode) || st->st_dev != dir->st_dev ||
        virDirOpenQuiet(&handle, dirpath) < 0)
        return NULL;

    while (virDirRead(handle, &ent, NULL) > 0) {
        if (ent->d_ino == st->st_ino)
            return g_strdup(ent->d_name);
    }

    return NULL;
}


/* Sets the volume of @place to that of a file in the pool's directory: the
 * description of a volume belongs to that volume. */
static void
qemuTPMPathPlaceSetVolume(qemuTPMPathPlace *place,
                          const char *name)
{
    place->volume = g_strdup(name);
    ignore_value(virStringStripSuffix(place->volume, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX));
}


/* Sets @place if the names tell that @path is in @dir, or the other way round, both
 * without symbolic links. */
static bool
qemuTPMPathFindByName(const char *path,
                      const char *dir,
                      const char *pool,
                      qemuTPMPathPlace *place)
{
    const char *rest = qemuTPMPathSkipDir(path, dir);

    if (!rest && !qemuTPMPathSkipDir(dir, path))
        return false;

    place->pool = g_strdup(pool);

    if (rest && *rest) {
        g_auto(GStrv) parts = g_strsplit(rest, "/", 2);

        qemuTPMPathPlaceSetVolume(place, parts[0]);
    }

    return true;
}


/* Sets @place if @path is in @dir, of which only another name leads to it. */
static void
qemuTPMPathFindByFile(GPtrArray *mounts,
                      const char *path,
                      const char *dir,
                      const char *pool,
                      qemuTPMPathPlace *place)
{
    g_autofree char *volume = NULL;
    struct stat top;
    struct stat st;

    if (!qemuTPMPathMayBeOn(mounts, dir) || stat(dir, &top) < 0)
        return;

    if (qemuTPMPathIsWithin(mounts, path, &top, &volume)) {
        place->pool = g_strdup(pool);
        if (stat(path, &st) < 0 || !virOFDLockIsSameFile(&st, &top))
            qemuTPMPathPlaceSetVolume(place, volume);
        return;
    }

    if (stat(path, &st) == 0 &&
        (place->volume = qemuTPMPathFindName(dir, &top, &st)))
        place->pool = g_strdup(pool);
}


/* Sets @place if @path is in the pool, or the other way round. The pool's directory
 * is only touched if the file may be there: another one might never answer. */
static void
qemuTPMPathFindInPool(GPtrArray *mounts,
                      const char *path,
                      const virStoragePoolDef *pool,
                      qemuTPMPathPlace *place)
{
    g_autofree char *dir = qemuTPMPathResolveSafely(mounts, pool->target.path,
                                                    &place->unsure);
    g_autofree char *below = NULL;
    struct stat st;

    if (qemuTPMPathFindByName(path, dir, pool->name, place))
        return;

    qemuTPMPathFindByFile(mounts, path, dir, pool->name, place);

    if (!place->pool && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
        qemuTPMPathIsWithin(mounts, dir, &st, &below))
        place->pool = g_strdup(pool->name);
}


/* Returns 0 with @place set, if @canon, a path without symbolic links, is in a pool,
 * or -1 with an error reported if the storage driver cannot be asked. The pools are
 * listed with the daemon's own identity: access control must not hide one. */
static int
qemuTPMPathFind(const char *canon,
                qemuTPMPathPlace *place)
{
    VIR_IDENTITY_AUTORESTORE virIdentity *identity = virIdentityElevateCurrent();
    g_autoptr(virConnect) conn = NULL;
    virStoragePoolPtr *pools = NULL;
    g_autoptr(GPtrArray) mounts = qemuTPMPathGetMounts(canon);
    int npools;
    size_t i;

    if (!identity || !(conn = virGetConnectStorage()) ||
        (npools = virConnectListAllStoragePools(conn, &pools,
                                                VIR_CONNECT_LIST_STORAGE_POOLS_TPM)) < 0)
        return -1;

    for (i = 0; i < npools; i++) {
        g_autofree char *xml = virStoragePoolGetXMLDesc(pools[i], 0);
        g_autoptr(virStoragePoolDef) def = NULL;

        if (!xml || !(def = virStoragePoolDefParse(xml, NULL, 0)))
            place->unsure = true;
        else if (!place->pool)
            qemuTPMPathFindInPool(mounts, canon, def, place);

        virObjectUnref(pools[i]);
    }

    g_free(pools);
    virResetLastError();
    return 0;
}


/* Whether @canon, a path without symbolic links, is the description of a volume, or
 * has one beside it or in it. */
static bool
qemuTPMPathIsDescribed(const char *canon)
{
    g_autofree char *beside = g_strdup_printf("%s" VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX, canon);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    struct stat st;

    if (lstat(beside, &st) == 0 ||
        virStringHasSuffix(canon, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX))
        return true;

    if (virDirOpenQuiet(&dir, canon) < 0)
        return false;

    while (virDirRead(dir, &ent, NULL) > 0) {
        if (virStringHasSuffix(ent->d_name, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX))
            return true;
    }

    return false;
}


/* Whether the file @canon, a path without symbolic links, holds TPM state, whole or
 * damaged; or is blank and has another name, which may be that of a volume. */
static bool
qemuTPMPathIsState(const char *canon)
{
    VIR_AUTOCLOSE fd = -1;
    virTPMState state;
    struct stat st;

    if (stat(canon, &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_size > VIR_TPM_STATE_MAX_SIZE)
        return false;

    /* what somebody keeps a lease on may be */
    if ((fd = virOFDLockOpenNoWait(canon, O_RDONLY | O_NOFOLLOW)) < 0)
        return errno == EBUSY;

    if (virTPMStateProbe(fd, canon, &state) < 0) {
        virResetLastError();
        return false;
    }

    if (state.kind == VIR_TPM_STATE_BLANK)
        return st.st_nlink > 1;

    return virTPMStateHasState(&state);
}


/* If the storage driver cannot be asked, or not each pool be looked at, a volume is
 * recognised by its description, and @place has no names. Returns whether @path, which
 * is @canon without symbolic links, is in a pool; an error that is reported already
 * stays so. */
static bool
qemuTPMPathFindOrGuess(const char *path,
                       const char *canon,
                       qemuTPMPathPlace *place)
{
    virErrorPtr before;

    virErrorPreserveLast(&before);

    if (qemuTPMPathFind(canon, place) < 0) {
        VIR_WARN("cannot ask the storage driver about '%s': %s",
                 path, virGetLastErrorMessage());
        place->unsure = true;
    }

    virResetLastError();
    virErrorRestore(&before);
    return place->pool || (place->unsure && qemuTPMPathIsDescribed(canon));
}


/* Whether somebody has the lock of a volume, or that of qemuTPMPathLock(). QEMU locks
 * other bytes of its disks. */
static bool
qemuTPMPathIsLocked(const char *path)
{
    VIR_AUTOCLOSE fd = virOFDLockOpenNoWait(path, O_RDONLY | O_NOFOLLOW);
    struct flock lock = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = QEMU_TPM_PATH_LOCK_START,
        .l_len = 1,
    };

    /* somebody keeps a lease */
    if (fd < 0)
        return errno == EBUSY;

    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}


/* Returns what tells that @canon, a path without symbolic links, may be a volume, or
 * a directory with one somewhere below it, whatever the storage driver knows; NULL if
 * nothing does. */
static const char *
qemuTPMPathFindSign(const char *canon)
{
    g_autoptr(DIR) dir = NULL;
    const char *sign = NULL;
    struct dirent *ent;
    struct stat st = { 0 };

    /* a link in a directory is not followed when that is removed */
    if (lstat(canon, &st) == 0 && S_ISLNK(st.st_mode))
        return NULL;

    if (qemuTPMPathIsDescribed(canon))
        return "it is described as a TPM volume";

    if (S_ISREG(st.st_mode))
        return (st.st_size == 0 || qemuTPMPathIsState(canon)) && qemuTPMPathIsLocked(canon) ?
            "it is locked like TPM state in use" : NULL;

    if (!S_ISDIR(st.st_mode) || virDirOpenQuiet(&dir, canon) < 0)
        return NULL;

    while (!sign && virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *path = g_build_filename(canon, ent->d_name, NULL);

        sign = qemuTPMPathFindSign(path);
    }

    return sign;
}


/* Whether @path, which is @canon without symbolic links and about to be removed, has
 * to stay: @place tells that it is in a pool, or it may be in one that is not defined
 * any more or cannot be looked at. */
static bool
qemuTPMPathHasToStay(const char *path,
                     const char *canon,
                     const qemuTPMPathPlace *place)
{
    const char *sign = NULL;

    if (place->pool) {
        VIR_WARN("'%s' is not removed: it is in storage pool '%s' of type 'tpm'",
                 path, place->pool);
        return true;
    }

    if (!(sign = qemuTPMPathFindSign(canon)))
        return false;

    VIR_WARN("'%s' is not removed: %s", path, sign);
    return true;
}


/* Returns the file or directory of the user's choice that a TPM keeps its state in,
 * or NULL. */
static const char *
qemuTPMPathGetSource(const virDomainTPMDef *tpm)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;

    if (tpm->type != VIR_DOMAIN_TPM_TYPE_EMULATOR ||
        (emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_FILE &&
         emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_DIR))
        return NULL;

    return emulator->source_path;
}


static int
qemuTPMPathCheckTPM(const virDomainDef *def,
                    const virDomainTPMDef *tpm)
{
    const char *path = qemuTPMPathGetSource(tpm);
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon || !qemuTPMPathFindOrGuess(path, canon, &place))
        return 0;

    if (place.volume) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%4$s' cannot use '%1$s', which belongs to TPM volume '%2$s' of pool '%3$s': use <storage pool='%3$s' volume='%2$s'/> instead of <source>"),
                       path, place.volume, place.pool, def->name);
    } else {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%2$s' cannot use '%1$s', which belongs to a storage pool of type 'tpm': use <storage> instead of <source>"),
                       path, def->name);
    }

    return -1;
}


/* Whether @path, which is @canon without symbolic links, is part of a volume, or a
 * directory with volumes in it. What is neither state nor described is not: the storage
 * driver is not asked about it. State that is locked may be a volume of a pool that
 * cannot be looked at. */
static bool
qemuTPMPathFindVolume(const char *path,
                      const char *canon,
                      qemuTPMPathPlace *place)
{
    return (qemuTPMPathIsDescribed(canon) || qemuTPMPathIsState(canon)) &&
        (qemuTPMPathFindOrGuess(path, canon, place) ||
         (place->unsure && qemuTPMPathIsLocked(canon)));
}


bool
qemuTPMPathHoldsVolume(const char *path)
{
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon)
        return false;

    ignore_value(qemuTPMPathFindVolume(path, canon, &place));
    return qemuTPMPathHasToStay(path, canon, &place);
}


int
qemuTPMPathRemove(const char *path)
{
    if (!qemuTPMPathHoldsVolume(path))
        return unlink(path);

    errno = EPERM;
    return -1;
}


static int
qemuTPMPathCheckFile(const char *path)
{
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon || !qemuTPMPathFindVolume(path, canon, &place))
        return 0;

    if (place.volume) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%1$s' belongs to TPM volume '%2$s' of pool '%3$s', which only the TPM of a domain can use"),
                       path, place.volume, place.pool);
    } else {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%1$s' belongs to a storage pool of type 'tpm', whose volumes only the TPM of a domain can use"),
                       path);
    }

    return -1;
}


int
qemuTPMPathCheckOpen(const char *path,
                     int oflags)
{
    if ((oflags & O_ACCMODE) == O_RDONLY)
        return 0;

    return qemuTPMPathCheckFile(path);
}


int
qemuTPMPathCheckSource(const virStorageSource *src,
                       bool chain)
{
    for (; virStorageSourceIsBacking(src); src = chain ? src->backingStore : NULL) {
        if (src->dataFileStore && qemuTPMPathCheckSource(src->dataFileStore, false) < 0)
            return -1;

        if (virStorageSourceIsLocalStorage(src) && qemuTPMPathCheckFile(src->path) < 0)
            return -1;

        /* given to nbdkit's user */
        if (qemuTPMPathCheckFile(src->ssh_keyfile) < 0 ||
            qemuTPMPathCheckFile(src->ssh_known_hosts_file) < 0)
            return -1;
    }

    return 0;
}


/* QEMU opens a pair of pipes where there is one, and else what has the path
 * itself. */
static int
qemuTPMPathCheckPipe(const char *path)
{
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);

    if (qemuTPMPathCheckFile(in) < 0 || qemuTPMPathCheckFile(out) < 0)
        return -1;

    return qemuTPMPathCheckFile(path);
}


static int
qemuTPMPathCheckChardev(virDomainDeviceDef *dev G_GNUC_UNUSED,
                        virDomainChrSourceDef *chardev,
                        void *opaque G_GNUC_UNUSED)
{
    if (qemuTPMPathCheckFile(chardev->logfile) < 0)
        return -1;

    switch ((virDomainChrType) chardev->type) {
    case VIR_DOMAIN_CHR_TYPE_DEV:
    case VIR_DOMAIN_CHR_TYPE_FILE:
        return qemuTPMPathCheckFile(chardev->data.file.path);

    case VIR_DOMAIN_CHR_TYPE_PIPE:
        return qemuTPMPathCheckPipe(chardev->data.file.path);

    case VIR_DOMAIN_CHR_TYPE_UNIX:
        return qemuTPMPathCheckFile(chardev->data.nix.path);

    case VIR_DOMAIN_CHR_TYPE_NULL:
    case VIR_DOMAIN_CHR_TYPE_VC:
    case VIR_DOMAIN_CHR_TYPE_PTY:
    case VIR_DOMAIN_CHR_TYPE_STDIO:
    case VIR_DOMAIN_CHR_TYPE_UDP:
    case VIR_DOMAIN_CHR_TYPE_TCP:
    case VIR_DOMAIN_CHR_TYPE_SPICEVMC:
    case VIR_DOMAIN_CHR_TYPE_SPICEPORT:
    case VIR_DOMAIN_CHR_TYPE_NMDM:
    case VIR_DOMAIN_CHR_TYPE_QEMU_VDAGENT:
    case VIR_DOMAIN_CHR_TYPE_DBUS:
    case VIR_DOMAIN_CHR_TYPE_LAST:
        break;
    }

    return 0;
}


static int
qemuTPMPathCheckGraphics(const virDomainGraphicsDef *graphics)
{
    size_t i;

    for (i = 0; i < graphics->nListens; i++) {
        if (qemuTPMPathCheckFile(graphics->listens[i].socket) < 0)
            return -1;
    }

    return qemuTPMPathCheckFile(virDomainGraphicsGetRenderNode(graphics));
}


static int
qemuTPMPathCheckMemory(const virDomainMemoryDef *mem)
{
    switch (mem->model) {
    case VIR_DOMAIN_MEMORY_MODEL_NVDIMM:
        return qemuTPMPathCheckFile(mem->source.nvdimm.path);

    case VIR_DOMAIN_MEMORY_MODEL_VIRTIO_PMEM:
        return qemuTPMPathCheckFile(mem->source.virtio_pmem.path);

    case VIR_DOMAIN_MEMORY_MODEL_NONE:
    case VIR_DOMAIN_MEMORY_MODEL_DIMM:
    case VIR_DOMAIN_MEMORY_MODEL_VIRTIO_MEM:
    case VIR_DOMAIN_MEMORY_MODEL_SGX_EPC:
    case VIR_DOMAIN_MEMORY_MODEL_LAST:
        break;
    }

    return 0;
}


static int
qemuTPMPathCheckAudio(const virDomainAudioDef *audio)
{
    if (audio->type != VIR_DOMAIN_AUDIO_TYPE_FILE)
        return 0;

    return qemuTPMPathCheckFile(audio->backend.file.path);
}


static int
qemuTPMPathCheckSmartcard(const virDomainSmartcardDef *smartcard)
{
    if (smartcard->type != VIR_DOMAIN_SMARTCARD_TYPE_HOST_CERTIFICATES)
        return 0;

    return qemuTPMPathCheckFile(smartcard->data.cert.database);
}


/* What a device names by a path of its own, other than as a character device. */
static int
qemuTPMPathCheckFiles(const virDomainDef *def,
                      const virDomainDeviceDef *dev)
{
    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return qemuTPMPathCheckSource(dev->data.disk->src, true);

    case VIR_DOMAIN_DEVICE_FS:
        return qemuTPMPathCheckFile(dev->data.fs->src ? dev->data.fs->src->path : NULL);

    case VIR_DOMAIN_DEVICE_GRAPHICS:
        return qemuTPMPathCheckGraphics(dev->data.graphics);

    case VIR_DOMAIN_DEVICE_MEMORY:
        return qemuTPMPathCheckMemory(dev->data.memory);

    case VIR_DOMAIN_DEVICE_TPM:
        return qemuTPMPathCheckTPM(def, dev->data.tpm);

    case VIR_DOMAIN_DEVICE_PSTORE:
        return qemuTPMPathCheckFile(dev->data.pstore->path);

    case VIR_DOMAIN_DEVICE_INPUT:
        return qemuTPMPathCheckFile(dev->data.input->source.evdev);

    case VIR_DOMAIN_DEVICE_RNG:
        if (dev->data.rng->backend != VIR_DOMAIN_RNG_BACKEND_RANDOM)
            return 0;
        return qemuTPMPathCheckFile(dev->data.rng->source.file);

    case VIR_DOMAIN_DEVICE_AUDIO:
        return qemuTPMPathCheckAudio(dev->data.audio);

    case VIR_DOMAIN_DEVICE_NET:
        return qemuTPMPathCheckFile(dev->data.net->backend.logFile);

    case VIR_DOMAIN_DEVICE_SMARTCARD:
        return qemuTPMPathCheckSmartcard(dev->data.smartcard);

    case VIR_DOMAIN_DEVICE_NONE:
    case VIR_DOMAIN_DEVICE_LEASE:
    case VIR_DOMAIN_DEVICE_SOUND:
    case VIR_DOMAIN_DEVICE_VIDEO:
    case VIR_DOMAIN_DEVICE_HOSTDEV:
    case VIR_DOMAIN_DEVICE_WATCHDOG:
    case VIR_DOMAIN_DEVICE_CONTROLLER:
    case VIR_DOMAIN_DEVICE_HUB:
    case VIR_DOMAIN_DEVICE_REDIRDEV:
    case VIR_DOMAIN_DEVICE_CHR:
    case VIR_DOMAIN_DEVICE_MEMBALLOON:
    case VIR_DOMAIN_DEVICE_NVRAM:
    case VIR_DOMAIN_DEVICE_SHMEM:
    case VIR_DOMAIN_DEVICE_PANIC:
    case VIR_DOMAIN_DEVICE_IOMMU:
    case VIR_DOMAIN_DEVICE_VSOCK:
    case VIR_DOMAIN_DEVICE_CRYPTO:
    case VIR_DOMAIN_DEVICE_LAST:
        break;
    }

    return 0;
}


int
qemuTPMPathCheckDevice(const virDomainDef *def,
                       virDomainDeviceDef *dev)
{
    if (qemuTPMPathCheckFiles(def, dev) < 0)
        return -1;

    return qemuDomainDeviceBackendChardevForeachOne(dev, qemuTPMPathCheckChardev, NULL);
}


static int
qemuTPMPathCheckDeviceIter(virDomainDef *def,
                           virDomainDeviceDef *dev,
                           virDomainDeviceInfo *info G_GNUC_UNUSED,
                           void *opaque G_GNUC_UNUSED)
{
    return qemuTPMPathCheckDevice(def, dev);
}


/* The security drivers would give even what is only read to QEMU's user, and
 * libvirt copies the template of the NVRAM for it. */
static int
qemuTPMPathCheckOS(const virDomainOSDef *os)
{
    const char *files[] = {
        os->kernel, os->initrd, os->dtb, os->shim,
        os->loader ? os->loader->path : NULL,
        os->loader ? os->loader->nvramTemplate : NULL,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(files); i++) {
        if (qemuTPMPathCheckFile(files[i]) < 0)
            return -1;
    }

    for (i = 0; i < os->nacpiTables; i++) {
        if (qemuTPMPathCheckFile(os->acpiTables[i]->path) < 0)
            return -1;
    }

    if (os->loader && os->loader->nvram)
        return qemuTPMPathCheckSource(os->loader->nvram, true);

    return 0;
}


static int
qemuTPMPathCheckSysinfo(const virSysinfoDef *sysinfo)
{
    size_t i;

    for (i = 0; i < sysinfo->nfw_cfgs; i++) {
        if (qemuTPMPathCheckFile(sysinfo->fw_cfgs[i].file) < 0)
            return -1;
    }

    return 0;
}


int
qemuTPMPathCheckDomain(virDomainDef *def)
{
    size_t i;

    if (qemuTPMPathCheckOS(&def->os) < 0)
        return -1;

    for (i = 0; i < def->nsysinfo; i++) {
        if (qemuTPMPathCheckSysinfo(def->sysinfo[i]) < 0)
            return -1;
    }

    return virDomainDeviceInfoIterateFlags(def, qemuTPMPathCheckDeviceIter,
                                           DOMAIN_DEVICE_ITERATE_ALL_CONSOLES |
                                           DOMAIN_DEVICE_ITERATE_MISSING_INFO,
                                           NULL);
}


int
qemuTPMPathCheckPool(virStoragePoolPtr pool,
                     const char *disk)
{
    g_autofree char *xml = virStoragePoolGetXMLDesc(pool, 0);
    g_autoptr(virStoragePoolDef) def = NULL;

    if (!xml || !(def = virStoragePoolDefParse(xml, NULL, 0)))
        return -1;

    if (def->type != VIR_STORAGE_POOL_TPM)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("disk '%1$s' cannot be created in storage pool '%2$s' of type 'tpm': create it beforehand in a pool of another type"),
                   disk, def->name);
    return -1;
}


bool
qemuTPMPathIsVolume(const virDomainTPMDef *tpm)
{
    const char *path = qemuTPMPathGetSource(tpm);
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon)
        return false;

    ignore_value(qemuTPMPathFindOrGuess(path, canon, &place));
    return qemuTPMPathHasToStay(path, canon, &place);
}


static bool
qemuTPMPathIsLockable(const virDomainTPMDef *tpm)
{
    return tpm->type == VIR_DOMAIN_TPM_TYPE_EMULATOR &&
        tpm->data.emulator.source_type == VIR_DOMAIN_TPM_SOURCE_TYPE_FILE &&
        tpm->data.emulator.source_path &&
        !virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_TPMSTATE_OPT_LOCK);
}


static void
qemuTPMPathReportBusy(const char *path,
                      int fd)
{
    g_autofree char *holder = NULL;

    switch (virOFDLockFindHolder(fd, &holder)) {
    case VIR_OFD_LOCK_HOLDER_PROCESS:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use by %2$s of another domain"),
                       path, holder);
        return;

    case VIR_OFD_LOCK_HOLDER_ELSEWHERE:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use, but not by a process on this host (another host on shared storage?)"),
                       path);
        return;

    case VIR_OFD_LOCK_HOLDER_UNKNOWN:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use by an unknown process on this host or another one"),
                       path);
        return;
    }
}


int
qemuTPMPathLock(const virDomainTPMDef *tpm,
                bool incoming,
                int *fd)
{
    const char *path = tpm->data.emulator.source_path;
    struct stat held;
    struct stat st;
    int rc;

    if (incoming || !qemuTPMPathIsLockable(tpm) || stat(path, &st) < 0 ||
        (*fd >= 0 && fstat(*fd, &held) == 0 && virOFDLockIsSameFile(&held, &st)))
        return 0;

    VIR_FORCE_CLOSE(*fd);

    if ((*fd = virOFDLockOpenNoWait(path, O_RDWR)) < 0) {
        virReportSystemError(errno, _("cannot open TPM state '%1$s'"), path);
        return -1;
    }

    rc = virOFDLockAcquireFrom(*fd, QEMU_TPM_PATH_LOCK_START, false);
    if (rc == 0 || rc == -ENOSYS)
        return 0;

    if (rc == -EAGAIN)
        qemuTPMPathReportBusy(path, *fd);
    else
        virReportSystemError(-rc, _("cannot lock TPM state '%1$s'"), path);

    VIR_FORCE_CLOSE(*fd);
    return -1;
}


int
qemuTPMPathAddSwtpmLock(const virDomainTPMDef *tpm,
                        bool incoming,
                        int *fd,
                        virCommand *cmd)
{
    if (qemuTPMPathLock(tpm, incoming, fd) < 0)
        return -1;

    if (*fd >= 0)
        virCommandPassFD(cmd, *fd, VIR_COMMAND_PASS_FD_CLOSE_PARENT);

    *fd = -1;
    return 0;
}


bool
qemuTPMPathIsUsed(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        VIR_AUTOCLOSE fd = -1;
        int rc;

        if (!qemuTPMPathIsLockable(def->tpms[i]))
            continue;

        if ((fd = virOFDLockOpenNoWait(def->tpms[i]->data.emulator.source_path, O_RDWR)) < 0) {
            if (errno == EBUSY)
                return true;
            continue;
        }

        rc = virOFDLockAcquireFrom(fd, QEMU_TPM_PATH_LOCK_START, true);
        if (rc < 0 && rc != -ENOSYS)
            return true;
    }

    return false;
}
