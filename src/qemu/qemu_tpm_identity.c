/*
 * qemu_tpm_identity.c: keep two copies of one TPM from running on a host
 *
 * A copy of a volume is the same TPM, with the same identity, under another name. For
 * each TPM that runs there is an empty file in a directory that only this daemon can
 * write to: RUNDIR/libvirt/tpm-identity/UUID.lock, with an open-file-description lock.
 * swtpm inherits its descriptor, so that the lock is held for as long as swtpm lives,
 * also when the daemon is restarted. The file is removed when swtpm has ended, by
 * whoever has the lock; what a killed daemon leaves is removed by the next one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <unistd.h>

#include "domain_conf_tpm.h"
#include "qemu_tpm_identity.h"
#include "virfile.h"
#include "virofdlock.h"

#define VIR_FROM_THIS VIR_FROM_QEMU


static void
qemuTPMIdentityReportBusy(const virDomainTPMEmulatorDef *emulator,
                          int fd)
{
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;
    g_autofree char *holder = virOFDLockDescribeHolder(fd);

    if (holder) {
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume, in %4$s"),
                       emulator->identity, src->volume, src->pool, holder);
        return;
    }

    virReportError(VIR_ERR_RESOURCE_BUSY,
                   _("TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume"),
                   emulator->identity, src->volume, src->pool);
}


/* Only this daemon may write there: whoever could replace the file of a lock
 * would have two copies of one TPM run at the same time. */
static char *
qemuTPMIdentityDir(const virQEMUDriverConfig *cfg)
{
    g_autofree char *run = g_path_get_dirname(cfg->stateDir);

    return g_strdup_printf("%s/tpm-identity", run);
}


static char *
qemuTPMIdentityPath(const virDomainTPMEmulatorDef *emulator,
                    const char *dir)
{
    return g_strdup_printf("%s/%s.lock", dir, emulator->identity);
}


int
qemuTPMIdentityLock(const virDomainTPMEmulatorDef *emulator,
                    const virQEMUDriverConfig *cfg)
{
    g_autofree char *dir = qemuTPMIdentityDir(cfg);
    g_autofree char *path = qemuTPMIdentityPath(emulator, dir);
    VIR_AUTOCLOSE fd = -1;
    int rc;
    int ret;

    if (g_mkdir_with_parents(dir, 0700) < 0) {
        virReportSystemError(errno, _("cannot create directory '%1$s'"), dir);
        return -1;
    }

    rc = virOFDLockOpen(path, VIR_OFD_LOCK_CREATE, &fd);

    if (rc == -EAGAIN) {
        qemuTPMIdentityReportBusy(emulator, fd);
        return -1;
    }

    if (rc < 0 && fd < 0) {
        virReportSystemError(-rc, _("cannot open '%1$s'"), path);
        return -1;
    }

    if (rc < 0) {
        virReportSystemError(-rc, _("cannot lock '%1$s'"), path);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Only whoever has the lock may remove the file: it could be another's by now. */
static void
qemuTPMIdentityRemove(const char *path)
{
    VIR_AUTOCLOSE fd = -1;

    if (virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &fd) == 0)
        unlink(path);
}


void
qemuTPMIdentityRemoveFiles(virQEMUDriver *driver,
                           const virDomainDef *def)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autofree char *dir = qemuTPMIdentityDir(cfg);
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        const virDomainTPMEmulatorDef *emulator = &def->tpms[i]->data.emulator;
        g_autofree char *path = NULL;

        if (!virDomainTPMDefHasVolume(def->tpms[i]) || !emulator->identity)
            continue;

        path = qemuTPMIdentityPath(emulator, dir);
        qemuTPMIdentityRemove(path);
    }
}


void
qemuTPMIdentitySweep(virQEMUDriver *driver)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autofree char *folder = qemuTPMIdentityDir(cfg);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, folder) < 0)
        return;

    while (virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *path = g_strdup_printf("%s/%s", folder, ent->d_name);

        qemuTPMIdentityRemove(path);
    }
}
