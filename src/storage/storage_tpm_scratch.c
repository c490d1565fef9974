/*
 * storage_tpm_scratch.c: private directories for swtpm's user
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_scratch");

/* Set once, and never freed. */
static char *virStorageTPMScratchMemory;


/* The owner of the directory may not be trusted: nothing below it is entered. */
static void
virStorageTPMScratchRemove(const char *path)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, path) < 0)
        return;

    /* nobody else removes it before the daemon starts again: a call that fails once
     * is not left at that */
    while (virDirRead(dir, &ent, NULL) > 0) {
        if (unlinkat(dirfd(dir), ent->d_name, 0) < 0)
            ignore_value(unlinkat(dirfd(dir), ent->d_name, 0));
    }

    if (rmdir(path) < 0 && rmdir(path) < 0)
        VIR_WARN("cannot remove directory '%s': %s", path, g_strerror(errno));
}


void
virStorageTPMScratchFree(virStorageTPMScratch *scratch)
{
    if (!scratch)
        return;

    virStorageTPMScratchRemove(scratch);
    g_free(scratch);
}


virStorageTPMScratch *
virStorageTPMScratchNew(const char *rundir,
                        const char *prefix,
                        uid_t uid,
                        gid_t gid)
{
    g_autofree char *template = g_strdup_printf("%s/%sXXXXXX", rundir, prefix);
    g_autoptr(virStorageTPMScratch) scratch = NULL;

    if (!g_mkdtemp_full(template, 0700)) {
        virReportSystemError(errno, _("cannot create directory '%1$s'"), template);
        return NULL;
    }
    scratch = g_steal_pointer(&template);

    if (uid != (uid_t)-1 && chown(scratch, uid, gid) < 0) {
        virReportSystemError(errno, _("cannot change the owner of '%1$s'"), scratch);
        return NULL;
    }

    return g_steal_pointer(&scratch);
}


static bool
virStorageTPMScratchIsMemory(const char *rundir)
{
    struct statfs fs;

    return statfs(rundir, &fs) == 0 &&
        (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}


void
virStorageTPMScratchSweep(const char *rundir)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (!virStorageTPMScratchIsMemory(rundir))
        VIR_INFO("'%s' is not on a tmpfs: swtpm gets state by a descriptor", rundir);
    else if (!g_atomic_pointer_get(&virStorageTPMScratchMemory))
        g_atomic_pointer_set(&virStorageTPMScratchMemory, g_strdup(rundir));

    if (virDirOpenQuiet(&dir, rundir) < 0)
        return;

    while (virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *path = NULL;

        if (!STRPREFIX(ent->d_name, VIR_STORAGE_TPM_SCRATCH_SETUP) &&
            !STRPREFIX(ent->d_name, VIR_STORAGE_TPM_SCRATCH_STATE))
            continue;

        path = g_strdup_printf("%s/%s", rundir, ent->d_name);
        VIR_INFO("removing directory '%s', which an earlier daemon has left", path);
        virStorageTPMScratchRemove(path);
    }
}


const char *
virStorageTPMScratchRunDir(void)
{
    return g_atomic_pointer_get(&virStorageTPMScratchMemory);
}
