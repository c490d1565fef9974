/*
 * qemu_tpm_volume.c: start swtpm on a storage volume
 *
 * Says in which order a volume is opened, locked, checked and handed to swtpm, and what
 * becomes of it in a migration and when swtpm has ended. How that is done depends on the
 * kind of the volume: see qemuTPMVolumeOps.
 *
 * A volume is never created, formatted or deleted here, and nothing is run on one whose
 * content is not recognised. Its locks are held from the first look at it until swtpm
 * has ended.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "domain_conf_tpm.h"
#include "qemu_domain.h"
#include "qemu_security.h"
#include "qemu_tpm_command.h"
#include "qemu_tpm_path_lock.h"
#include "qemu_validate.h"
#include "storage_conf_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virxml.h"
#define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
#include "qemu_tpm_volumepriv.h"

#define VIR_FROM_THIS VIR_FROM_QEMU


const qemuTPMVolumeOps *
qemuTPMVolumeGetOps(const virStorageSource *src)
{
    const virStorageEncryption *encryption = src->encryption;

    if (src->format != VIR_STORAGE_FILE_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has format '%3$s', which is not supported yet"),
                       src->srcpool->volume, src->srcpool->pool,
                       virStorageFileFormatTypeToString(src->format));
        return NULL;
    }

    if (encryption && encryption->format != VIR_STORAGE_ENCRYPTION_FORMAT_VTPM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has encryption format '%3$s', which is not supported yet"),
                       src->srcpool->volume, src->srcpool->pool,
                       virStorageEncryptionFormatTypeToString(encryption->format));
        return NULL;
    }

    return &qemuTPMVolumeFileOps;
}


qemuTPMVolume *
qemuTPMVolumeNew(virDomainTPMDef *tpm,
                 bool incoming)
{
    const qemuTPMVolumeOps *ops = qemuTPMVolumeGetOps(tpm->data.emulator.volume);
    qemuTPMVolume *volume = NULL;

    if (!ops)
        return NULL;

    volume = g_new0(qemuTPMVolume, 1);
    volume->ops = ops;
    volume->tpm = tpm;
    volume->fd = -1;
    volume->usefd = -1;
    volume->identityfd = -1;
    volume->incoming = incoming;
    return volume;
}


void
qemuTPMVolumeFree(qemuTPMVolume *volume)
{
    if (!volume)
        return;

    VIR_FORCE_CLOSE(volume->fd);
    VIR_FORCE_CLOSE(volume->usefd);
    VIR_FORCE_CLOSE(volume->identityfd);
    g_free(volume);
}


static int
qemuTPMVolumeCheckSwtpm(const virStorageSourcePoolDef *src,
                        bool encrypted)
{
    g_autofree char *swtpm = virTPMGetSwtpm();

    if (!swtpm)
        return -1;

    if (!virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_NVRAM_BACKEND_FILE)) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("%1$s does not support state in a file, which TPM volume '%2$s' of pool '%3$s' requires"),
                       swtpm, src->volume, src->pool);
        return -1;
    }

    if (encrypted && !virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_CMDARG_PWD_FD)) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("%1$s does not support passing a passphrase using a file descriptor, which encrypted TPM volume '%2$s' of pool '%3$s' requires"),
                       swtpm, src->volume, src->pool);
        return -1;
    }

    return 0;
}


/* Only now is it known for sure, so that the model can be checked against it. */
static int
qemuTPMVolumeCheckVersion(virQEMUDriver *driver,
                          virDomainObj *vm,
                          virDomainTPMDef *tpm,
                          const virTPMState *state)
{
    qemuDomainObjPrivate *priv = vm->privateData;
    virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    virDomainDeviceDef dev = { .type = VIR_DOMAIN_DEVICE_TPM, .data.tpm = tpm };

    if (qemuTPMVolumeSetVersion(emulator, virStorageVolTPMVersionFromState(state->version)) < 0)
        return -1;

    if (emulator->version == VIR_DOMAIN_TPM_VERSION_DEFAULT) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("version of TPM volume '%1$s' of pool '%2$s' is not known: set 'version' in the <backend> of the domain's TPM"),
                       emulator->volume->srcpool->volume, emulator->volume->srcpool->pool);
        return -1;
    }

    return qemuValidateDomainDeviceDef(&dev, vm->def, driver, priv->qemuCaps);
}


/* A TPM that comes encrypted from another host needs a volume with a secret. */
static int
qemuTPMVolumeCheckEncryption(virDomainObj *vm,
                             const qemuTPMVolume *volume)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(volume->tpm);

    if (volume->incoming && !volume->encrypted &&
        priv->volume.encrypted == VIR_TRISTATE_BOOL_YES) {
        qemuTPMVolumeReportEncrypted(vm, volume->tpm->data.emulator.volume->srcpool);
        return -1;
    }

    priv->volume.encrypted = virTristateBoolFromBool(volume->encrypted);
    return 0;
}


qemuTPMVolume *
qemuTPMVolumeOpenAndLock(virQEMUDriver *driver,
                         virDomainObj *vm,
                         virDomainTPMDef *tpm,
                         bool incoming)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    g_autoptr(qemuTPMVolume) volume = NULL;
    virTPMState state;

    if (!(volume = qemuTPMVolumeNew(tpm, incoming)) ||
        volume->ops->openAndLock(volume, cfg) < 0 ||
        qemuTPMVolumeVerify(emulator) < 0 ||
        volume->ops->checkContent(volume, &state) < 0 ||
        qemuTPMVolumeCheckEncryption(vm, volume) < 0 ||
        qemuTPMVolumeCheckSwtpm(emulator->volume->srcpool, volume->encrypted) < 0 ||
        qemuTPMVolumeCheckVersion(driver, vm, tpm, &state) < 0)
        return NULL;

    if (emulator->identity &&
        (volume->identityfd = qemuTPMIdentityLock(emulator, cfg)) < 0)
        return NULL;

    if (volume->ops->allocateState(volume) < 0)
        return NULL;

    qemuTPMVolumeMarkLog(tpm);
    return g_steal_pointer(&volume);
}


/* The passphrase is for the volume and for a migration stream. */
static int
qemuTPMVolumeAddKeys(virCommand *cmd,
                     const virStorageSource *src)
{
    int migration;
    int fd;

    if ((fd = virTPMSecretAddFD(cmd, virStorageVolTPMGetSecret(src->encryption),
                                src->srcpool->pool, src->srcpool->volume, &migration)) < 0)
        return -1;

    qemuTPMCommandAddKeys(cmd, fd, migration);
    return 0;
}


void
qemuTPMVolumeAddFD(virCommand *cmd,
                   int *fd)
{
    if (*fd < 0)
        return;

    virCommandPassFD(cmd, *fd, VIR_COMMAND_PASS_FD_CLOSE_PARENT);
    *fd = -1;
}


int
qemuTPMVolumeHandToSwtpm(virQEMUDriver *driver,
                         qemuTPMVolume *volume,
                         virCommand *cmd)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virDomainTPMEmulatorDef *emulator = &volume->tpm->data.emulator;

    qemuTPMCommandAddState(cmd, emulator, volume->swtpmLocks);

    if (volume->swtpmLocks)
        qemuTPMCommandAddMigration(cmd, volume->incoming);

    if (volume->encrypted && qemuTPMVolumeAddKeys(cmd, emulator->volume) < 0)
        return -1;

    if (volume->ops->handToSwtpm(volume, cfg, driver->privileged, cmd) < 0)
        return -1;

    qemuTPMVolumeAddFD(cmd, &volume->identityfd);

    QEMU_DOMAIN_TPM_PRIVATE(volume->tpm)->swtpm.can_migrate_shared_storage = volume->swtpmLocks;
    return 0;
}


virCommand *
qemuTPMVolumePrepareSwtpm(virQEMUDriver *driver,
                          virDomainObj *vm,
                          virDomainTPMDef *tpm,
                          bool incoming,
                          int *logfd)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autoptr(qemuTPMVolume) volume = NULL;
    g_autoptr(virCommand) cmd = NULL;

    if (!(volume = qemuTPMVolumeOpenAndLock(driver, vm, tpm, incoming)) ||
        !(cmd = qemuTPMCommandNew(tpm, cfg, logfd)) ||
        qemuTPMVolumeHandToSwtpm(driver, volume, cmd) < 0)
        return NULL;

    return g_steal_pointer(&cmd);
}


/* The volume of a running guest, or NULL. One that has quit meanwhile has no path. */
static const virStorageSource *
qemuTPMVolumeGetUsed(const virDomainDef *def)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);

    return tpm && tpm->data.emulator.volume->path ? tpm->data.emulator.volume : NULL;
}


int
qemuTPMVolumeCheckMigration(virQEMUDriver *driver,
                            virDomainObj *vm)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virStorageSource *src = qemuTPMVolumeGetUsed(vm->def);

    if (!src || virFileIsSharedFS(src->path, cfg->sharedFilesystems) != 1 ||
        QEMU_DOMAIN_TPM_PRIVATE(virDomainTPMVolumeFind(vm->def))->swtpm.can_migrate_shared_storage)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' is on a shared file system, but the guest's swtpm cannot hand its lock over to another host: use a swtpm with the capability 'tpmstate-opt-lock'"),
                   src->srcpool->volume, src->srcpool->pool);
    return -1;
}


int
qemuTPMVolumeCheckResume(const virDomainDef *def)
{
    const virStorageSource *src = qemuTPMVolumeGetUsed(def);
    VIR_AUTOCLOSE fd = -1;

    if (!src ||
        !QEMU_DOMAIN_TPM_PRIVATE(virDomainTPMVolumeFind(def))->swtpm.can_migrate_shared_storage ||
        virStorageVolTPMUseTest(src->path, &fd) != 0)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("TPM volume '%1$s' of pool '%2$s' is not locked for domain '%3$s' any more, and another host may have used it: destroy the domain and start it again"),
                   src->srcpool->volume, src->srcpool->pool, def->name);
    return -1;
}


int
qemuTPMVolumePrepareMigration(const virDomainDef *def)
{
    const virStorageSource *src = qemuTPMVolumeGetUsed(def);
    const qemuTPMVolumeOps *ops = NULL;

    if (!src)
        return 0;

    /* swtpm would be killed if there were no room for what QEMU is about to ask for */
    return (ops = qemuTPMVolumeGetOps(src)) ? ops->reserveVolatile(src) : -1;
}


virTristateBool
qemuTPMVolumeGetEncryption(const virDomainDef *def)
{
    virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);

    return tpm ? QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.encrypted : VIR_TRISTATE_BOOL_ABSENT;
}


void
qemuTPMVolumeSetEncryption(virDomainDef *def,
                           virTristateBool encrypted)
{
    virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);

    if (tpm)
        QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.encrypted = encrypted;
}


void
qemuTPMVolumeFormatEncryption(virBuffer *buf,
                              virTristateBool encrypted)
{
    if (encrypted != VIR_TRISTATE_BOOL_ABSENT)
        virBufferAsprintf(buf, "<tpmVolume encrypted='%s'/>\n",
                          virTristateBoolTypeToString(encrypted));
}


int
qemuTPMVolumeParseEncryption(xmlXPathContextPtr ctxt,
                             virTristateBool *encrypted)
{
    xmlNodePtr node = virXPathNode("./tpmVolume", ctxt);

    *encrypted = VIR_TRISTATE_BOOL_ABSENT;

    if (!node)
        return 0;

    return virXMLPropTristateBool(node, "encrypted", VIR_XML_PROP_NONE, encrypted);
}


bool
qemuTPMVolumeLockUnused(const virDomainDef *def,
                        int *fd)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);
    const virStorageSource *src = tpm ? tpm->data.emulator.volume : NULL;
    const qemuTPMVolumeOps *ops = NULL;

    if (!src)
        return true;

    /* only a volume of a kind that is supported has got a path */
    if (!src->path || !(ops = qemuTPMVolumeGetOps(src)))
        return false;

    return ops->lockUnused(src, fd);
}


int
qemuTPMVolumeRestoreLabels(virQEMUDriver *driver,
                           virDomainObj *vm,
                           bool state,
                           bool lockMetadataException)
{
    VIR_AUTOCLOSE fd = -1;

    qemuTPMIdentityRemoveFiles(driver, vm->def);

    if (!qemuTPMVolumeLockUnused(vm->def, &fd) || qemuTPMPathIsUsed(vm->def))
        state = false;

    return qemuSecurityRestoreTPMLabels(driver, vm, state, lockMetadataException);
}
