/*
 * qemu_tpm_path_lock.c: lock TPM state in a file of the user's choice
 *
 * Two domains whose <source> of a TPM names the same file would destroy it. Where swtpm
 * takes no lock itself, this daemon does, and swtpm inherits it. It is the lock of a
 * volume, but for the first bytes of the file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "qemu_tpm_path_lock.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virofdlock.h"
#include "virtpm.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

/* The first byte that is locked: libvirt's security drivers lock the ones before
 * for a moment when they set a label. */
#define QEMU_TPM_PATH_LOCK_START 2


bool
qemuTPMPathIsLocked(const char *path)
{
    VIR_AUTOCLOSE fd = virFileOpenNoWait(path, O_RDONLY | O_NOFOLLOW);

    /* somebody keeps a lease */
    if (fd < 0)
        return errno == EBUSY;

    return virOFDLockTest(fd, QEMU_TPM_PATH_LOCK_START) == -EAGAIN;
}


static bool
qemuTPMPathIsLockable(const virDomainTPMDef *tpm)
{
    return tpm->type == VIR_DOMAIN_TPM_TYPE_EMULATOR &&
        tpm->data.emulator.source_type == VIR_DOMAIN_TPM_SOURCE_TYPE_FILE &&
        tpm->data.emulator.source_path &&
        !virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_TPMSTATE_OPT_LOCK);
}


static void
qemuTPMPathReportBusy(const char *path,
                      int fd)
{
    g_autofree char *holder = NULL;

    switch (virOFDLockFindHolder(fd, &holder)) {
    case VIR_OFD_LOCK_HOLDER_PROCESS:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use by %2$s of another domain"),
                       path, holder);
        return;

    case VIR_OFD_LOCK_HOLDER_ELSEWHERE:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use, but not by a process on this host (another host on shared storage?)"),
                       path);
        return;

    case VIR_OFD_LOCK_HOLDER_UNKNOWN:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM state '%1$s' is in use by an unknown process on this host or another one"),
                       path);
        return;
    }
}


int
qemuTPMPathLock(const virDomainTPMDef *tpm,
                bool incoming,
                int *fd)
{
    const char *path = tpm->data.emulator.source_path;
    struct stat held;
    struct stat st;
    int rc;

    if (incoming || !qemuTPMPathIsLockable(tpm) || stat(path, &st) < 0 ||
        (*fd >= 0 && fstat(*fd, &held) == 0 && virFileIsSameInode(&held, &st)))
        return 0;

    VIR_FORCE_CLOSE(*fd);

    if ((*fd = virFileOpenNoWait(path, O_RDWR)) < 0) {
        virReportSystemError(errno, _("cannot open TPM state '%1$s'"), path);
        return -1;
    }

    rc = virOFDLockAcquireFrom(*fd, QEMU_TPM_PATH_LOCK_START);
    if (rc == 0 || rc == -ENOSYS)
        return 0;

    if (rc == -EAGAIN)
        qemuTPMPathReportBusy(path, *fd);
    else
        virReportSystemError(-rc, _("cannot lock TPM state '%1$s'"), path);

    VIR_FORCE_CLOSE(*fd);
    return -1;
}


int
qemuTPMPathAddSwtpmLock(const virDomainTPMDef *tpm,
                        bool incoming,
                        int *fd,
                        virCommand *cmd)
{
    if (qemuTPMPathLock(tpm, incoming, fd) < 0)
        return -1;

    if (*fd >= 0)
        virCommandPassFD(cmd, *fd, VIR_COMMAND_PASS_FD_CLOSE_PARENT);

    *fd = -1;
    return 0;
}


bool
qemuTPMPathIsUsed(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        VIR_AUTOCLOSE fd = -1;
        int rc;

        if (!qemuTPMPathIsLockable(def->tpms[i]))
            continue;

        if ((fd = virFileOpenNoWait(def->tpms[i]->data.emulator.source_path, O_RDWR)) < 0) {
            if (errno == EBUSY)
                return true;
            continue;
        }

        rc = virOFDLockTest(fd, QEMU_TPM_PATH_LOCK_START);
        if (rc < 0 && rc != -ENOSYS)
            return true;
    }

    return false;
}
