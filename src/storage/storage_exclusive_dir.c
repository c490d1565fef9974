/*
 * storage_exclusive_dir.c: keep other pools out of a directory that a pool needs for itself
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The volumes of a tpm pool are locked and published by that pool alone. A pool with the
 * same directory would list them as its own, and could overwrite or delete them. So the
 * storage driver asks here before a pool of any type is defined, built or started, and
 * before a volume of any pool is written to.
 *
 * What is compared is the file or directory itself: a symbolic link, a hard link or a bind
 * mount is no way around. A file system may not answer, which is why neither the list of
 * pools nor a pool is locked while one is asked.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_conf_tpm.h"
#include "storage_exclusive_dir.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virofdlock.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


typedef struct _virStorageExclusiveDirSearch virStorageExclusiveDirSearch;
struct _virStorageExclusiveDirSearch {
    const char *name;
    virStoragePoolType type;
    const char *path;
    bool active; /* only among pools that are active or starting */
    GPtrArray *names; /* of the pools that are found */
    GPtrArray *paths; /* the directories of these pools, in the same order */
};


/* Whether pools of that type do not share their directory. */
static bool
virStorageExclusiveDirIsRequired(virStoragePoolType type)
{
    return type == VIR_STORAGE_POOL_TPM;
}


static bool
virStorageExclusiveDirIsSameDir(const char *a,
                                const char *b)
{
    g_autofree char *canonicalA = g_canonicalize_filename(a, "/");
    g_autofree char *canonicalB = g_canonicalize_filename(b, "/");
    struct stat sta;
    struct stat stb;

    if (STREQ(canonicalA, canonicalB))
        return true;

    return stat(a, &sta) == 0 && stat(b, &stb) == 0 &&
        virFileIsSameInode(&sta, &stb);
}


/* Notes the pools that may have the same directory. A file system that does not
 * answer must be asked when neither the list nor a pool is locked. */
static bool
virStorageExclusiveDirNote(virStoragePoolObj *obj,
                           const void *opaque)
{
    const virStorageExclusiveDirSearch *search = opaque;
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    if (search->active && !virStoragePoolObjIsActive(obj) &&
        !virStoragePoolObjIsStarting(obj))
        return false;

    if (STREQ(def->name, search->name) ||
        (!virStorageExclusiveDirIsRequired(def->type) &&
         !virStorageExclusiveDirIsRequired(search->type)))
        return false;

    if (def->target.path) {
        g_ptr_array_add(search->names, g_strdup(def->name));
        g_ptr_array_add(search->paths, g_strdup(def->target.path));
    }

    return false;
}


static int
virStorageExclusiveDirCheck(virStoragePoolObjList *pools,
                            virStorageExclusiveDirSearch *search)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    if (!search->path)
        return 0;

    search->names = names;
    search->paths = paths;
    ignore_value(virStoragePoolObjListSearch(pools, virStorageExclusiveDirNote, search));

    for (i = 0; i < names->len; i++) {
        if (!virStorageExclusiveDirIsSameDir(g_ptr_array_index(paths, i), search->path))
            continue;

        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("pool '%1$s' cannot use directory '%2$s', which pool '%3$s' uses: a tpm pool requires a directory of its own"),
                       search->name, search->path, (char *)g_ptr_array_index(names, i));
        return -1;
    }

    return 0;
}


int
virStorageExclusiveDirCheckDefine(virStoragePoolObjList *pools,
                                  virStoragePoolDef *def)
{
    virStorageExclusiveDirSearch search = { .name = def->name, .type = def->type };

    virStoragePoolTPMDefSetTarget(def);
    search.path = def->target.path;

    return virStorageExclusiveDirCheck(pools, &search);
}


int
virStorageExclusiveDirCheckStart(virStoragePoolObjList *pools,
                                 virStoragePoolObj *obj)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autofree char *name = g_strdup(def->name);
    g_autofree char *path = g_strdup(def->target.path);
    virStorageExclusiveDirSearch search = {
        .name = name,
        .type = def->type,
        .path = path,
        .active = true,
    };
    int ret;

    /* the list comes before its members when locks are taken */
    virObjectUnlock(obj);
    ret = virStorageExclusiveDirCheck(pools, &search);
    virObjectLock(obj);

    return ret;
}


int
virStorageExclusiveDirBuildPool(virStoragePoolObjList *pools,
                                virStorageBackend *backend,
                                virStoragePoolObj *obj,
                                unsigned int flags)
{
    if (virStorageExclusiveDirCheckStart(pools, obj) < 0)
        return -1;

    return backend->buildPool ? backend->buildPool(obj, flags) : 0;
}


int
virStorageExclusiveDirStartPool(virStoragePoolObjList *pools,
                                virStorageBackend *backend,
                                virStoragePoolObj *obj)
{
    virErrorPtr err;

    if (virStorageExclusiveDirCheckStart(pools, obj) < 0)
        return -1;

    if (backend->startPool && backend->startPool(obj) < 0)
        return -1;

    if (virStorageExclusiveDirCheckStart(pools, obj) == 0)
        return 0;

    virErrorPreserveLast(&err);
    if (backend->stopPool)
        backend->stopPool(obj);
    virErrorRestore(&err);
    return -1;
}


/* A volume of a pool of another type, which may be a file of a tpm pool. */
typedef struct _virStorageExclusiveDirVol virStorageExclusiveDirVol;
struct _virStorageExclusiveDirVol {
    char *pool;
    char *vol;
    char *path;
    char *real;     /* @path without symbolic links */
    struct stat sb; /* of what it is */
};


static void
virStorageExclusiveDirVolFree(virStorageExclusiveDirVol *vol)
{
    if (!vol)
        return;

    g_free(vol->pool);
    g_free(vol->vol);
    g_free(vol->path);
    g_free(vol->real);
    g_free(vol);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageExclusiveDirVol, virStorageExclusiveDirVolFree);


/* The name that a file has in a directory; NULL if it has none. */
static char *
virStorageExclusiveDirFindFile(const char *path,
                               const struct stat *sb)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, path) < 0)
        return NULL;

    while (virDirRead(dir, &ent, NULL) > 0) {
        struct stat found;

        if (fstatat(dirfd(dir), ent->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
            virFileIsSameInode(&found, sb))
            return g_strdup(ent->d_name);
    }

    return NULL;
}


/* The name of the file if its path is in a directory; NULL if it is not. */
static char *
virStorageExclusiveDirMatchPath(const char *path,
                                const char *real)
{
    g_autofree char *canonical = g_canonicalize_filename(path, "/");
    g_autofree char *dir = g_path_get_dirname(real);

    return STREQ(dir, canonical) ? g_path_get_basename(real) : NULL;
}


/* Returns 0 if a file is not in the directory of a tpm pool, -1 with an error reported
 * otherwise. With @look the directories are read: it may be there by another name. */
static int
virStorageExclusiveDirCheckFile(const virStorageExclusiveDirVol *vol,
                                GPtrArray *names,
                                GPtrArray *paths,
                                bool look)
{
    size_t i;

    for (i = 0; i < names->len; i++) {
        const char *path = g_ptr_array_index(paths, i);
        g_autofree char *file = look ? virStorageExclusiveDirFindFile(path, &vol->sb) :
            virStorageExclusiveDirMatchPath(path, vol->real);

        if (!file)
            continue;

        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot write to volume '%1$s' of pool '%2$s', which is file '%3$s' of tpm pool '%4$s': use pool '%4$s'"),
                       vol->vol, vol->pool, file, (char *)g_ptr_array_index(names, i));
        return -1;
    }

    return 0;
}


/* Whether a file holds TPM state. Sets @fd to a descriptor of it then. */
static bool
virStorageExclusiveDirHoldsState(const virStorageExclusiveDirVol *vol,
                                 int *fd)
{
    virTPMState state;

    if (vol->sb.st_size > VIR_TPM_STATE_MAX_SIZE ||
        (*fd = virFileOpenNoWait(vol->real, O_RDONLY | O_NOFOLLOW)) < 0)
        return false;

    if (virTPMStateProbe(*fd, vol->real, &state) < 0) {
        virResetLastError();
        return false;
    }

    return virTPMStateHasState(&state);
}


/* TPM state may be used by what no pool of this host knows. Returns 0 if nobody has it
 * locked, -1 with an error reported otherwise. */
static int
virStorageExclusiveDirCheckLock(const virStorageExclusiveDirVol *vol,
                                int fd)
{
    g_autofree char *holder = NULL;

    if (virOFDLockTest(fd, 0) != -EAGAIN)
        return 0;

    if ((holder = virOFDLockDescribeHolder(fd)))
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("cannot write to volume '%1$s' of pool '%2$s', which holds TPM state that is in use by %3$s"),
                       vol->vol, vol->pool, holder);
    else
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("cannot write to volume '%1$s' of pool '%2$s', which holds TPM state that is in use"),
                       vol->vol, vol->pool);
    return -1;
}


/* Waits for file systems: neither the list nor a pool is locked. */
static int
virStorageExclusiveDirCheckVol(virStorageExclusiveDirVol *vol,
                               GPtrArray *names,
                               GPtrArray *paths)
{
    VIR_AUTOCLOSE fd = -1;
    bool state;

    /* what is no regular file of this host is no file of a tpm pool */
    if (!g_path_is_absolute(vol->path) ||
        !(vol->real = virFileCanonicalizePath(vol->path)) ||
        stat(vol->real, &vol->sb) < 0 || !S_ISREG(vol->sb.st_mode))
        return 0;

    if (virStorageExclusiveDirCheckFile(vol, names, paths, false) < 0)
        return -1;

    state = virStorageExclusiveDirHoldsState(vol, &fd);

    /* the pools' file systems may not answer: they are only asked of a file that may
     * be one of theirs under another name */
    if ((state || vol->sb.st_nlink > 1 || virFileIsLink(vol->path) > 0) &&
        virStorageExclusiveDirCheckFile(vol, names, paths, true) < 0)
        return -1;

    return state ? virStorageExclusiveDirCheckLock(vol, fd) : 0;
}


int
virStorageExclusiveDirCheckWrite(virStoragePoolObjList *pools,
                                 virStoragePoolObj *obj,
                                 virStorageVolDef *vol)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(virStorageExclusiveDirVol) copy = g_new0(virStorageExclusiveDirVol, 1);
    virStorageExclusiveDirSearch search = {
        .type = def->type,
        .names = names,
        .paths = paths,
    };
    int ret;

    if (virStorageExclusiveDirIsRequired(def->type) || !vol->target.path)
        return 0;

    copy->pool = g_strdup(def->name);
    copy->vol = g_strdup(vol->name);
    copy->path = g_strdup(vol->target.path);
    search.name = copy->pool;

    /* the list comes before its members when locks are taken; volume and pool stay */
    virStoragePoolObjIncrAsyncjobs(obj);
    vol->in_use++;
    virObjectUnlock(obj);

    ignore_value(virStoragePoolObjListSearch(pools, virStorageExclusiveDirNote, &search));
    ret = virStorageExclusiveDirCheckVol(copy, names, paths);

    virObjectLock(obj);
    vol->in_use--;
    virStoragePoolObjDecrAsyncjobs(obj);

    return ret;
}
