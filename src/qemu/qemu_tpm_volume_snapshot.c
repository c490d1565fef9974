/*
 * qemu_tpm_volume_snapshot.c: snapshots of domains whose TPM is on a volume
 *
 * A snapshot includes a TPM that is on a volume only with the memory of the guest: the
 * log says so when another one is made, and it is reverted to by force only. Before
 * anything is stopped for a revert it is checked that the domain could start then.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "domain_conf_tpm.h"
#include "qemu_domain.h"
#include "storage_conf_tpm.h"
#include "virerror.h"
#include "virlog.h"
#include "virsecureerase.h"
#include "virtpmsecret.h"
#define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
#include "qemu_tpm_volumepriv.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_volume_snapshot");


/* Whether a snapshot holds the guest's memory, and with it the TPM. */
static bool
qemuTPMVolumeSnapshotHasMemory(const virDomainSnapshotDef *snapdef)
{
    return snapdef->state == VIR_DOMAIN_SNAPSHOT_RUNNING ||
        snapdef->state == VIR_DOMAIN_SNAPSHOT_PAUSED;
}


int
qemuTPMVolumeCheckSnapshot(virDomainObj *vm,
                           const virDomainSnapshotDef *snapdef,
                           bool internal)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(vm->def);
    const virStorageSourcePoolDef *src = tpm ? tpm->data.emulator.volume->srcpool : NULL;

    if (!src)
        return 0;

    if (internal && !virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("internal snapshots of a guest that is shut off are not supported for TPM volume '%1$s' of pool '%2$s', which has format 'raw': take the snapshot while the guest is running"),
                       src->volume, src->pool);
        return -1;
    }

    if (!qemuTPMVolumeSnapshotHasMemory(snapdef))
        VIR_WARN("snapshot '%s' of domain '%s' does not include the TPM on volume '%s' of pool '%s'",
                 snapdef->parent.name, vm->def->name, src->volume, src->pool);

    return 0;
}


/* Whether the domain runs on the volume of @emulator or, with @copy, on any copy of
 * it: then its own swtpm has the locks. */
static bool
qemuTPMVolumeIsUsedBy(virDomainObj *vm,
                      const virDomainTPMEmulatorDef *emulator,
                      bool copy)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(vm->def);
    const virDomainTPMEmulatorDef *own = tpm ? &tpm->data.emulator : NULL;

    if (!own || !virDomainObjIsActive(vm))
        return false;

    if (STREQ_NULLABLE(own->volume->path, emulator->volume->path))
        return true;

    return copy && emulator->identity &&
        STREQ_NULLABLE(own->identity, emulator->identity);
}


/* Takes the locks that swtpm would have, and leaves them when @volume is freed. */
static int
qemuTPMVolumeCheckLocks(virDomainObj *vm,
                        qemuTPMVolume *volume)
{
    virQEMUDriver *driver = QEMU_DOMAIN_PRIVATE(vm)->driver;
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virDomainTPMEmulatorDef *emulator = &volume->tpm->data.emulator;
    virTPMState state;

    if (!qemuTPMVolumeIsUsedBy(vm, emulator, false) &&
        (volume->ops->openAndLock(volume, cfg) < 0 ||
         volume->ops->checkContent(volume, &state) < 0))
        return -1;

    if (emulator->identity && !qemuTPMVolumeIsUsedBy(vm, emulator, true) &&
        (volume->identityfd = qemuTPMIdentityLock(emulator, cfg)) < 0)
        return -1;

    return 0;
}


static int
qemuTPMVolumeCheckSecret(const virStorageSource *src)
{
    const virSecretLookupTypeDef *secret = virStorageVolTPMGetSecret(src->encryption);
    g_autofree uint8_t *value = NULL;
    size_t len = 0;

    if (!secret)
        return 0;

    if (virTPMSecretGet(secret, src->srcpool->pool, src->srcpool->volume, &value, &len) < 0)
        return -1;

    virSecureErase(value, len);
    return 0;
}


/* Checks that a domain could be started as @def says, with the volumes of its TPMs
 * as they are, once @vm has ended. */
static int
qemuTPMVolumeCheckStart(virDomainObj *vm,
                        virDomainDef *def,
                        bool boots)
{
    virQEMUDriver *driver = QEMU_DOMAIN_PRIVATE(vm)->driver;
    g_autoptr(virDomainDef) copy = NULL;
    size_t i;

    if (qemuTPMVolumeCheckPolicy(driver, def) < 0)
        return -1;

    if (!virDomainTPMVolumeFind(def))
        return 0;

    if (!(copy = virDomainDefCopy(def, driver->xmlopt,
                                  QEMU_DOMAIN_PRIVATE(vm)->qemuCaps, true)) ||
        qemuTPMVolumePrepareDomain(copy, boots) < 0)
        return -1;

    for (i = 0; i < copy->ntpms; i++) {
        g_autoptr(qemuTPMVolume) volume = NULL;

        if (!virDomainTPMDefHasVolume(copy->tpms[i]))
            continue;

        if (!(volume = qemuTPMVolumeNew(copy->tpms[i], false)) ||
            qemuTPMVolumeCheckLocks(vm, volume) < 0 ||
            qemuTPMVolumeCheckSecret(copy->tpms[i]->data.emulator.volume) < 0)
            return -1;
    }

    return 0;
}


int
qemuTPMVolumeCheckRevert(virDomainObj *vm,
                         const virDomainSnapshotDef *snapdef,
                         unsigned int flags)
{
    virDomainDef *def = snapdef->parent.dom;
    const virDomainTPMDef *tpm = NULL;
    bool memory = qemuTPMVolumeSnapshotHasMemory(snapdef);
    bool starts = memory || flags & (VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING |
                                     VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED);

    if (!memory && snapdef->parent.inactiveDom)
        def = snapdef->parent.inactiveDom;

    if (starts && qemuTPMVolumeCheckStart(vm, def, !memory) < 0)
        return -1;

    if (memory || flags & VIR_DOMAIN_SNAPSHOT_REVERT_FORCE)
        return 0;

    if (!(tpm = virDomainTPMVolumeFind(vm->def)) &&
        !(tpm = virDomainTPMVolumeFind(def)))
        return 0;

    virReportError(VIR_ERR_SNAPSHOT_REVERT_RISKY,
                   _("snapshot '%1$s' does not include the TPM on volume '%2$s' of pool '%3$s', which would not be reverted with the disks"),
                   snapdef->parent.name, tpm->data.emulator.volume->srcpool->volume,
                   tpm->data.emulator.volume->srcpool->pool);
    return -1;
}
