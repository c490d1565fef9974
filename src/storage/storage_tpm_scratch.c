/*
 * storage_tpm_scratch.c: private directories for swtpm's user
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * swtpm_setup and swtpm get files under names that only their user can reach, in a directory
 * of one run each, below the driver's run directory. It is removed when the run has
 * ended; what a daemon that was killed has left is removed when the next one starts,
 * and the programs that still use it are ended.
 */

#include <config.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "storage_tpm_child.h"
#include "storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_scratch");

/* For how long processes are looked for that are to end, and the first interval between
 * two looks, in milliseconds. */
#define VIR_STORAGE_TPM_SCRATCH_WAIT 1000
#define VIR_STORAGE_TPM_SCRATCH_PAUSE 10

/* The driver's run directory, and whether it is in memory. Set when the driver starts,
 * before anybody else looks at them; never freed. */
static char *virStorageTPMScratchRunDir;
static bool virStorageTPMScratchMemory;


/* Opens a directory, and nothing that a link of its name leads to: what is in there is
 * going to be removed. Returns NULL with errno set if it is none. */
static DIR *
virStorageTPMScratchOpen(const char *path)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir;

    if (fd < 0 || !(dir = fdopendir(fd)))
        return NULL;

    fd = -1; /* closed with the directory */
    return dir;
}


/* The owner of the directory may not be trusted: nothing below it is entered. */
static void
virStorageTPMScratchRemove(const char *path)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    /* nobody else removes it before the daemon starts again: a call that fails once
     * is not left at that */
    if (!(dir = virStorageTPMScratchOpen(path)) &&
        !(dir = virStorageTPMScratchOpen(path))) {
        VIR_WARN("cannot remove directory '%s': %s", path, g_strerror(errno));
        return;
    }

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
virStorageTPMScratchNew(const char *prefix,
                        uid_t uid,
                        gid_t gid)
{
    g_autofree char *template = g_strdup_printf("%s/%sXXXXXX", virStorageTPMScratchRunDir, prefix);
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


/* Whether a process has the name of a directory, or of something in it, among its
 * arguments: swtpm_setup, libvirt_tpmhelper and swtpm have. Those of other users do not
 * count, who may only look at what is there. */
static bool
virStorageTPMScratchIsUser(const char *process,
                           const char *path,
                           uid_t uid)
{
    g_autofree char *proc = g_strdup_printf("/proc/%s", process);
    g_autofree char *file = g_strdup_printf("%s/cmdline", proc);
    g_autofree char *args = NULL;
    const char *arg;
    struct stat sb;
    gsize len;

    if (stat(proc, &sb) < 0 || sb.st_uid != uid ||
        !g_file_get_contents(file, &args, &len, NULL))
        return false;

    return (arg = memmem(args, len, path, strlen(path))) &&
        strchr("/,", arg[strlen(path)]);
}


/* Ends the processes that use a directory: swtpm_setup or libvirt_tpmhelper with all that
 * is in its group, and its swtpm. Returns whether there were any. */
static bool
virStorageTPMScratchKillUsers(const char *path,
                              uid_t uid)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    bool found = false;

    if (virDirOpenQuiet(&dir, "/proc") < 0)
        return false;

    while (virDirRead(dir, &ent, NULL) > 0) {
        int number;

        if (virStrToLong_i(ent->d_name, NULL, 10, &number) < 0 ||
            !virStorageTPMScratchIsUser(ent->d_name, path, uid))
            continue;

        VIR_INFO("ending process %d, which uses directory '%s'", number, path);
        ignore_value(kill(getpgid(number) == number ? -number : number, SIGKILL));
        found = true;
    }

    return found;
}


/* Ends what uses a directory, and what that may have started meanwhile. Where there is no
 * user to run it as nothing was run. */
static void
virStorageTPMScratchEndUsers(const char *path)
{
    virTimeBackOffVar timer;
    uid_t uid;
    gid_t gid;

    if (virStorageTPMChildUser(&uid, &gid) < 0) {
        virResetLastError();
        return;
    }

    if (virTimeBackOffStart(&timer, VIR_STORAGE_TPM_SCRATCH_PAUSE,
                            VIR_STORAGE_TPM_SCRATCH_WAIT) < 0)
        return;

    while (virStorageTPMScratchKillUsers(path, uid == (uid_t)-1 ? geteuid() : uid) &&
           virTimeBackOffWait(&timer))
        continue;
}


/* What swtpm_setup or libvirt_tpmhelper makes for a daemon that is no more is of no use.
 * It is ended before its directory is removed: it would leave files there, and its swtpm
 * might go on. What is not a directory was not made by a daemon, and stays. */
static void
virStorageTPMScratchRemoveLeftover(const char *path)
{
    g_autoptr(DIR) dir = virStorageTPMScratchOpen(path);

    if (!dir)
        return;

    VIR_INFO("removing directory '%s', which an earlier daemon has left", path);

    virStorageTPMScratchEndUsers(path);
    virStorageTPMScratchRemove(path);
}


static void
virStorageTPMScratchSweep(const char *rundir)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

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


void
virStorageTPMScratchInitialize(const char *rundir)
{
    struct statfs fs;

    g_free(virStorageTPMScratchRunDir);
    virStorageTPMScratchRunDir = g_strdup(rundir);
    virStorageTPMScratchMemory = statfs(rundir, &fs) == 0 &&
        (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);

    if (!virStorageTPMScratchMemory)
        VIR_INFO("'%s' is not on a tmpfs: swtpm gets state by a descriptor", rundir);

    virStorageTPMScratchSweep(rundir);
}


bool
virStorageTPMScratchIsMemory(void)
{
    return virStorageTPMScratchMemory;
}
