/*
 * storage_tpm_pool.c: keep other pools out of the directories of tpm pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_pool.h"
#include "virerror.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


typedef struct _virStorageTPMPoolSearch virStorageTPMPoolSearch;
struct _virStorageTPMPoolSearch {
    const char *name;
    virStoragePoolType type;
    const char *path;
    bool active; /* only among pools that are active or starting */
    GPtrArray *names; /* of the pools that are found, */
    GPtrArray *paths; /* and their directories */
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
        virTPMStateIsSameFile(&sta, &stb);
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
