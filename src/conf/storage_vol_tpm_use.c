/*
 * storage_vol_tpm_use.c: who uses a TPM volume that hosts share
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The lock of a volume's users: taken alone by whoever starts swtpm, and beside another by
 * whoever starts one that takes over from it.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_vol_tpm_use.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virlog.h"
#include "virofdlock.h"

VIR_LOG_INIT("conf.storage_vol_tpm_use");


char *
virStorageVolTPMUsePath(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);

    return g_strdup_printf("%s/.%s.lock", dir, name);
}


int
virStorageVolTPMUseTest(const char *path,
                        int *fd)
{
    g_autofree char *lock = virStorageVolTPMUsePath(path);
    struct stat sb;
    int rc;

    /* to open for writing what is not there waits while the file system is frozen */
    virFileRevalidateDir(lock);
    if ((*fd = virFileOpenRegular(lock, O_RDONLY, &sb)) < 0)
        return errno == ENOENT ? 0 : -errno;

    if ((rc = virOFDLockTest(*fd, 0)) == 0)
        VIR_FORCE_CLOSE(*fd);

    return rc;
}


int
virStorageVolTPMUseLock(const char *path,
                        unsigned int flags,
                        int *fd)
{
    VIR_AUTOCLOSE use = -1;
    int rc;

    if ((rc = virStorageVolTPMUseTest(path, &use)) == 0 &&
        (rc = virOFDLockOpen(path, flags, fd)) == 0 &&
        (rc = virStorageVolTPMUseTest(path, &use)) == 0)
        return 0;

    VIR_FORCE_CLOSE(*fd);
    return rc;
}


int
virStorageVolTPMUseBegin(const char *path,
                         int *fd)
{
    g_autofree char *lock = virStorageVolTPMUsePath(path);
    int rc = virOFDLockOpen(lock, VIR_OFD_LOCK_CREATE, fd);

    return rc < 0 ? rc : virOFDLockAcquireShared(*fd);
}


int
virStorageVolTPMUseJoin(const char *path,
                        int *fd)
{
    g_autofree char *lock = virStorageVolTPMUsePath(path);
    int rc;

    virFileRevalidateDir(lock);
    if ((rc = virOFDLockOpen(lock, VIR_OFD_LOCK_READ, fd)) == -ENOENT)
        return 0;

    if (rc == 0 && (rc = virOFDLockTest(*fd, 0)) == -EAGAIN)
        return 1;

    if (rc == 0)
        VIR_FORCE_CLOSE(*fd);
    return rc;
}


void
virStorageVolTPMUseRemove(const char *path)
{
    g_autofree char *lock = virStorageVolTPMUsePath(path);

    if (unlink(lock) < 0 && errno != ENOENT)
        VIR_WARN("cannot remove file '%s': %s", lock, g_strerror(errno));
}
