/*
 * qemu_tpm_path_find.c: find out whether a path leads to a volume of a tpm pool
 *
 * The path may be another name of the volume: a symbolic or hard link, or a bind mount.
 * The directories of all tpm pools are compared with it. A pool may be on a file system
 * whose server does not answer, so that nothing is touched on a file system that the
 * path cannot be on. Where the storage driver cannot be asked, a volume is recognised
 * by the description beside it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "datatypes.h"
#include "qemu_tpm_path_find.h"
#include "qemu_tpm_path_lock.h"
#include "storage_conf.h"
#include "storage_conf_tpm.h"
#include "virfile.h"
#include "virfileopen.h"
#include "viridentity.h"
#include "virlog.h"
#include "virstring.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_path_find");

/* How many symbolic links in a path are followed. */
#define QEMU_TPM_PATH_LINKS_MAX 40

typedef struct _qemuTPMPathMount qemuTPMPathMount;
struct _qemuTPMPathMount {
    char *point;
    char *device; /* "major:minor", the same wherever the file system is mounted */
    bool local;   /* whether the file system needs no server, which might not answer */
    bool same;    /* whether the file that is looked for may be on the file system */
};

/* What is known while a path is resolved. */
typedef struct _qemuTPMPathWalk qemuTPMPathWalk;
struct _qemuTPMPathWalk {
    GPtrArray *mounts; /* NULL if every file system may be touched */
    size_t links;      /* how many more symbolic links are followed */
    bool unsure;       /* whether there may be more of them */
};


void
qemuTPMPathPlaceClear(qemuTPMPathPlace *place)
{
    g_clear_pointer(&place->pool, g_free);
    g_clear_pointer(&place->volume, g_free);
}


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


char *
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
            stat(at, &st) == 0 && virFileIsSameInode(&st, dir))
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
    place->above = !rest;

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
        if (stat(path, &st) < 0 || !virFileIsSameInode(&st, &top))
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
        qemuTPMPathIsWithin(mounts, dir, &st, &below)) {
        place->pool = g_strdup(pool->name);
        place->above = true;
    }
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


bool
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


bool
qemuTPMPathIsState(const char *canon)
{
    VIR_AUTOCLOSE fd = -1;
    virTPMState state;
    struct stat st;

    if (stat(canon, &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_size > VIR_TPM_STATE_MAX_SIZE)
        return false;

    /* what somebody keeps a lease on may be */
    if ((fd = virFileOpenNoWait(canon, O_RDONLY | O_NOFOLLOW)) < 0)
        return errno == EBUSY;

    if (virTPMStateProbe(fd, canon, &state) < 0) {
        virResetLastError();
        return false;
    }

    if (state.kind == VIR_TPM_STATE_BLANK)
        return st.st_nlink > 1;

    return virTPMStateHasState(&state);
}


bool
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


bool
qemuTPMPathFindVolume(const char *path,
                      const char *canon,
                      qemuTPMPathPlace *place)
{
    return (qemuTPMPathIsDescribed(canon) || qemuTPMPathIsState(canon)) &&
        (qemuTPMPathFindOrGuess(path, canon, place) ||
         (place->unsure && qemuTPMPathIsLocked(canon)));
}
