/*
 * storage_tpm_scratch.c: private directories for swtpm's user
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/magic.h>
#include <signal.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_scratch");

/* How often processes are looked for that are to end, and how long to wait between,
 * in microseconds. */
#define VIR_STORAGE_TPM_SCRATCH_TRIES 100
#define VIR_STORAGE_TPM_SCRATCH_PAUSE (10 * 1000)

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


/* Ends the processes that have the name of a directory among their arguments: swtpm_setup
 * or libvirt_tpmhelper with all that is in its group, and its swtpm. Returns whether there were any. */
static bool
virStorageTPMScratchKillUsers(const char *path)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    bool found = false;

    if (virDirOpenQuiet(&dir, "/proc") < 0)
        return false;

    while (virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *file = g_strdup_printf("/proc/%s/cmdline", ent->d_name);
        g_autofree char *args = NULL;
        gsize len;
        int number;

        if (virStrToLong_i(ent->d_name, NULL, 10, &number) < 0 ||
            !g_file_get_contents(file, &args, &len, NULL) ||
            !memmem(args, len, path, strlen(path)))
            continue;

        VIR_INFO("ending process %d, which uses directory '%s'", number, path);
        ignore_value(kill(getpgid(number) == number ? -number : number, SIGKILL));
        found = true;
    }

    return found;
}


/* What swtpm_setup or libvirt_tpmhelper makes for a daemon that is no more is of no use. It is ended before
 * its directory is removed: it would leave files there, and its swtpm might go on. */
static void
virStorageTPMScratchRemoveLeftover(const char *path)
{
    size_t i;

    VIR_INFO("removing directory '%s', which an earlier daemon has left", path);

    /* what is ended may have started something else meanwhile */
    for (i = 0; i < VIR_STORAGE_TPM_SCRATCH_TRIES && virStorageTPMScratchKillUsers(path); i++)
        g_usleep(VIR_STORAGE_TPM_SCRATCH_PAUSE);

    virStorageTPMScratchRemove(path);
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
        virStorageTPMScratchRemoveLeftover(path);
    }
}


const char *
virStorageTPMScratchRunDir(void)
{
    return g_atomic_pointer_get(&virStorageTPMScratchMemory);
}
