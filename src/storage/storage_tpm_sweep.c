/*
 * storage_tpm_sweep.c: remove what an interrupted operation has left in a pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever makes a temporary holds its lock. One that can be locked, and that still has
 * its name then, was left by a daemon or host that is gone: what it holds of a TPM's
 * state is overwritten, and it is removed.
 */

#include <config.h>

#include <unistd.h>

#include "storage_tpm_name.h"
#include "storage_tpm_sweep.h"
#include "storage_tpm_temp.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_sweep");


/* Overwrites what a file may hold of a TPM's state: all that was set aside for
 * that, and else what is recognised; never what has another name still, as a
 * volume has from which the name of a temporary could not be taken. Returns -1
 * with errno set if that failed. */
static int
virStorageTPMSweepContent(int fd,
                          const char *path,
                          bool old)
{
    virTPMState state;
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -1;

    if (sb.st_nlink > 1)
        return 0;

    if (!old) {
        if (virTPMStateProbe(fd, path, &state) < 0) {
            virResetLastError();
            errno = EIO;
            return -1;
        }

        if (!virTPMStateHasState(&state))
            return 0;
    }

    return virStorageTPMTempOverwrite(fd);
}


/* Removes a temporary that nobody is making any more. Returns -1 with errno set if
 * its content could not be overwritten: it is still there then. */
static int
virStorageTPMSweepTemp(const char *path,
                       const char *dir,
                       const char *vol,
                       const char *suffix)
{
    g_autofree char *mine = virStorageTPMNameNewTemp(dir, vol, suffix);
    VIR_AUTOCLOSE fd = -1;
    int rc;

    rc = virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &fd);

    /* it is being made, or gone, or no temporary */
    if (rc == -EAGAIN || rc == -ENOENT || virFileIsNotRegularErrno(-rc))
        return 0;

    if (rc < 0) {
        errno = -rc;
        return -1;
    }

    /* On a shared file system names may be cached: rename the file first. Only one
     * host succeeds. */
    if (virStorageTPMTempRename(path, mine) < 0)
        return errno == ENOENT ? 0 : -1;

    VIR_INFO("removing temporary file '%s', which nobody is making", path);

    if (virStorageTPMSweepContent(fd, mine, STREQ(suffix, VIR_STORAGE_TPM_OLD_SUFFIX)) < 0) {
        rc = errno;
        VIR_WARN("cannot overwrite temporary file '%s': %s", path, g_strerror(errno));
        if (virStorageTPMTempRename(mine, path) < 0)
            VIR_WARN("temporary file '%s' is named '%s' now", path, mine);
        errno = rc;
        return -1;
    }

    if (unlink(mine) < 0)
        VIR_WARN("cannot remove temporary file '%s': %s", mine, g_strerror(errno));
    return 0;
}


void
virStorageTPMSweep(const char *dir,
                   const char *name)
{
    const char *const suffixes[] = { VIR_STORAGE_TPM_TEMP_SUFFIX, VIR_STORAGE_TPM_OLD_SUFFIX };
    size_t i;

    if (*name != '.')
        return;

    for (i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *vol = virStorageTPMNameOfTemp(name, suffixes[i]);
        g_autofree char *path = NULL;

        if (!vol)
            continue;

        path = g_strdup_printf("%s/%s", dir, name);
        ignore_value(virStorageTPMSweepTemp(path, dir, vol, suffixes[i]));
    }
}


int
virStorageTPMSweepOld(const virStoragePoolDef *pool,
                      const char *name)
{
    const char *dir = pool->target.path;
    g_autoptr(DIR) dirp = NULL;
    struct dirent *ent;
    int rc;

    if (virDirOpen(&dirp, dir) < 0)
        return -1;

    while ((rc = virDirRead(dirp, &ent, dir)) > 0) {
        g_autofree char *vol = virStorageTPMNameOfTemp(ent->d_name,
                                                       VIR_STORAGE_TPM_OLD_SUFFIX);
        g_autofree char *path = NULL;

        if (STRNEQ_NULLABLE(vol, name))
            continue;

        path = g_strdup_printf("%s/%s", dir, ent->d_name);
        if (virStorageTPMSweepTemp(path, dir, vol, VIR_STORAGE_TPM_OLD_SUFFIX) < 0) {
            virStorageTPMTempReportOld(errno, pool, name, path);
            return -1;
        }
    }

    return rc;
}
