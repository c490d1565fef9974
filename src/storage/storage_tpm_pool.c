/*
 * storage_tpm_pool.c: keep other pools out of the directories of tpm pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_pool.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virofdlock.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


typedef struct _virStorageTPMPoolSearch virStorageTPMPoolSearch;
struct _virStorageTPMPoolSearch {
    const char *name;
    virStoragePoolType type;
    const char *path;
    bool active; /* only among pools that are active or starting */
    GPtrArray *names; /* of the pools that are found */
    GPtrArray *paths; /* the directories of these pools, in the same order */
};


static bool
virStorageTPMPoolIsSameDir(const char *a,
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
virStorageTPMPoolNote(virStoragePoolObj *obj,
                      const void *opaque)
{
    const virStorageTPMPoolSearch *search = opaque;
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    if (search->active && !virStoragePoolObjIsActive(obj) &&
        !virStoragePoolObjIsStarting(obj))
        return false;

    if (STREQ(def->name, search->name) ||
        (def->type != VIR_STORAGE_POOL_TPM && search->type != VIR_STORAGE_POOL_TPM))
        return false;

    if (def->target.path) {
        g_ptr_array_add(search->names, g_strdup(def->name));
        g_ptr_array_add(search->paths, g_strdup(def->target.path));
    }

    return false;
}


static int
virStorageTPMPoolCheck(virStoragePoolObjList *pools,
                       virStorageTPMPoolSearch *search)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    if (!search->path)
        return 0;

    search->names = names;
    search->paths = paths;
    ignore_value(virStoragePoolObjListSearch(pools, virStorageTPMPoolNote, search));

    for (i = 0; i < names->len; i++) {
        if (!virStorageTPMPoolIsSameDir(g_ptr_array_index(paths, i), search->path))
            continue;

        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("pool '%1$s' cannot use directory '%2$s', which pool '%3$s' uses: a tpm pool requires a directory of its own"),
                       search->name, search->path, (char *)g_ptr_array_index(names, i));
        return -1;
    }

    return 0;
}


int
virStorageTPMPoolCheckDefine(virStoragePoolObjList *pools,
                             virStoragePoolDef *def)
{
    virStorageTPMPoolSearch search = { .name = def->name, .type = def->type };

    virStoragePoolTPMDefSetTarget(def);
    search.path = def->target.path;

    return virStorageTPMPoolCheck(pools, &search);
}


int
virStorageTPMPoolCheckStart(virStoragePoolObjList *pools,
                            virStoragePoolObj *obj)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autofree char *name = g_strdup(def->name);
    g_autofree char *path = g_strdup(def->target.path);
    virStorageTPMPoolSearch search = {
        .name = name,
        .type = def->type,
        .path = path,
        .active = true,
    };
    int ret;

    /* the list comes before its members when locks are taken */
    virObjectUnlock(obj);
    ret = virStorageTPMPoolCheck(pools, &search);
    virObjectLock(obj);

    return ret;
}


/* A volume of a pool of another type, which may be a file of a tpm pool. */
typedef struct _virStorageTPMPoolVol virStorageTPMPoolVol;
struct _virStorageTPMPoolVol {
    char *pool;
    char *vol;
    char *path;
    char *real;     /* @path without symbolic links */
    struct stat sb; /* of what it is */
};


static void
virStorageTPMPoolVolFree(virStorageTPMPoolVol *vol)
{
    if (!vol)
        return;

    g_free(vol->pool);
    g_free(vol->vol);
    g_free(vol->path);
    g_free(vol->real);
    g_free(vol);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMPoolVol, virStorageTPMPoolVolFree);


/* The name that a file has in a directory; NULL if it has none. */
static char *
virStorageTPMPoolFindFile(const char *path,
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
virStorageTPMPoolMatchPath(const char *path,
                           const char *real)
{
    g_autofree char *canonical = g_canonicalize_filename(path, "/");
    g_autofree char *dir = g_path_get_dirname(real);

    return STREQ(dir, canonical) ? g_path_get_basename(real) : NULL;
}


/* Returns 0 if a file is not in the directory of a tpm pool, -1 with an error reported
 * otherwise. With @look the directories are read: it may be there by another name. */
static int
virStorageTPMPoolCheckFile(const virStorageTPMPoolVol *vol,
                           GPtrArray *names,
                           GPtrArray *paths,
                           bool look)
{
    size_t i;

    for (i = 0; i < names->len; i++) {
        const char *path = g_ptr_array_index(paths, i);
        g_autofree char *file = look ? virStorageTPMPoolFindFile(path, &vol->sb) :
            virStorageTPMPoolMatchPath(path, vol->real);

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
virStorageTPMPoolHoldsState(const virStorageTPMPoolVol *vol,
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
virStorageTPMPoolCheckLock(const virStorageTPMPoolVol *vol,
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
virStorageTPMPoolCheckVol(virStorageTPMPoolVol *vol,
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

    if (virStorageTPMPoolCheckFile(vol, names, paths, false) < 0)
        return -1;

    state = virStorageTPMPoolHoldsState(vol, &fd);

    /* the pools' file systems may not answer: they are only asked of a file that may
     * be one of theirs under another name */
    if ((state || vol->sb.st_nlink > 1 || virFileIsLink(vol->path) > 0) &&
        virStorageTPMPoolCheckFile(vol, names, paths, true) < 0)
        return -1;

    return state ? virStorageTPMPoolCheckLock(vol, fd) : 0;
}


int
virStorageTPMPoolCheckWrite(virStoragePoolObjList *pools,
                            virStoragePoolObj *obj,
                            virStorageVolDef *vol)
{
    const virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(virStorageTPMPoolVol) copy = g_new0(virStorageTPMPoolVol, 1);
    virStorageTPMPoolSearch search = {
        .type = def->type,
        .names = names,
        .paths = paths,
    };
    int ret;

    if (def->type == VIR_STORAGE_POOL_TPM || !vol->target.path)
        return 0;

    copy->pool = g_strdup(def->name);
    copy->vol = g_strdup(vol->name);
    copy->path = g_strdup(vol->target.path);
    search.name = copy->pool;

    /* the list comes before its members when locks are taken; volume and pool stay */
    virStoragePoolObjIncrAsyncjobs(obj);
    vol->in_use++;
    virObjectUnlock(obj);

    ignore_value(virStoragePoolObjListSearch(pools, virStorageTPMPoolNote, &search));
    ret = virStorageTPMPoolCheckVol(copy, names, paths);

    virObjectLock(obj);
    vol->in_use--;
    virStoragePoolObjDecrAsyncjobs(obj);

    return ret;
}
