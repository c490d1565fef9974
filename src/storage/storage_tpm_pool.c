/*
 * storage_tpm_pool.c: tpm storage pools beside other pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_pool.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


typedef struct _virStorageTPMPoolSearch virStorageTPMPoolSearch;
struct _virStorageTPMPoolSearch {
    const char *name;
    virStoragePoolType type;
    const char *path;
    bool active; /* only among pools that are active or starting */
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
        sta.st_dev == stb.st_dev && sta.st_ino == stb.st_ino;
}


static bool
virStorageTPMPoolConflicts(virStoragePoolObj *obj,
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

    return def->target.path && virStorageTPMPoolIsSameDir(def->target.path, search->path);
}


static int
virStorageTPMPoolCheck(virStoragePoolObjList *pools,
                       const virStorageTPMPoolSearch *search)
{
    virStoragePoolObj *other;

    if (!search->path ||
        !(other = virStoragePoolObjListSearch(pools, virStorageTPMPoolConflicts, search)))
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("pool '%1$s' cannot use directory '%2$s', which is that of pool '%3$s': the directory of a tpm pool must not be shared with another pool"),
                   search->name, search->path, virStoragePoolObjGetDef(other)->name);
    virStoragePoolObjEndAPI(&other);
    return -1;
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
