/*
 * qemu_tpm_volume.c: a domain's TPM that is on a storage volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "datatypes.h"
#include "domain_conf_tpm.h"
#include "qemu_domain.h"
#include "qemu_process.h"
#include "qemu_security.h"
#include "qemu_tpm_path.h"
#include "qemu_tpm_volume.h"
#include "qemu_validate.h"
#include "storage_conf.h"
#include "storage_conf_tpm.h"
#include "storage_vol_tpm.h"
#include "viralloc.h"
#include "virfile.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virsecureerase.h"
#include "virstring.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virtpmstate.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_volume");

/* Where less is free on a file system, in bytes, an error of swtpm is taken for one
 * of a full file system, such as one that writes to other blocks each time. */
#define QEMU_TPM_VOLUME_ROOM (16 * 1024)

/* How much of swtpm's log, from where this start began, is looked at. */
#define QEMU_TPM_VOLUME_LOG_MAX (64 * 1024)

struct _qemuTPMVolume {
    int fd;         /* the volume's file, with its lock unless another host has it */
    int passedfd;   /* the same in the process that is about to become swtpm */
    int identityfd; /* the lock on the TPM's identity; -1 if that is not known */
    bool encrypted;
    bool incoming;  /* the state comes in a migration stream */
    bool handsOver; /* swtpm takes its own lock, which it can hand over to another host */
};


static qemuTPMVolume *
qemuTPMVolumeNew(bool incoming)
{
    qemuTPMVolume *volume = g_new0(qemuTPMVolume, 1);

    volume->fd = -1;
    volume->passedfd = -1;
    volume->identityfd = -1;
    volume->incoming = incoming;
    return volume;
}


int
qemuTPMVolumeCheckPolicy(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        const virDomainTPMDef *tpm = def->tpms[i];

        if (tpm->type != VIR_DOMAIN_TPM_TYPE_EMULATOR || virDomainTPMDefHasVolume(tpm))
            continue;

        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%1$s' is not on a storage volume, which 'swtpm_require_volume' in qemu.conf requires: create a volume with vol-create and name it in the domain, or adopt the existing state with 'virt-tpm-volume adopt'"),
                       def->name);
        return -1;
    }

    return 0;
}


void
qemuTPMVolumeFree(qemuTPMVolume *volume)
{
    if (!volume)
        return;

    VIR_FORCE_CLOSE(volume->fd);
    VIR_FORCE_CLOSE(volume->identityfd);
    g_free(volume);
}


static virStoragePoolPtr
qemuTPMVolumeLookupPool(virConnectPtr conn,
                        const virStorageSourcePoolDef *src)
{
    g_autoptr(virStoragePool) pool = virStoragePoolLookupByName(conn, src->pool);
    int active;

    if (!pool) {
        if (virGetLastErrorCode() == VIR_ERR_NO_STORAGE_POOL)
            virReportError(VIR_ERR_NO_STORAGE_POOL,
                           _("storage pool '%1$s' of TPM volume '%2$s' not found"),
                           src->pool, src->volume);
        return NULL;
    }

    if ((active = virStoragePoolIsActive(pool)) < 0)
        return NULL;

    if (active == 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("storage pool '%1$s' of TPM volume '%2$s' is not active: start it with pool-start"),
                       src->pool, src->volume);
        return NULL;
    }

    return g_steal_pointer(&pool);
}


static virStoragePoolDef *
qemuTPMVolumeGetPoolDef(virStoragePoolPtr pool,
                        const virStorageSourcePoolDef *src)
{
    g_autoptr(virStoragePoolDef) def = NULL;
    g_autofree char *xml = virStoragePoolGetXMLDesc(pool, 0);

    if (!xml || !(def = virStoragePoolDefParse(xml, NULL, 0)))
        return NULL;

    if (def->type != VIR_STORAGE_POOL_TPM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("storage pool '%1$s' of TPM volume '%2$s' is of type '%3$s', not 'tpm'"),
                       src->pool, src->volume,
                       virStoragePoolTypeToString(def->type));
        return NULL;
    }

    return g_steal_pointer(&def);
}


static virStorageVolDef *
qemuTPMVolumeGetDef(virConnectPtr conn,
                    const virStorageSourcePoolDef *src)
{
    g_autoptr(virStoragePool) pool = NULL;
    g_autoptr(virStoragePoolDef) pooldef = NULL;
    g_autoptr(virStorageVol) vol = NULL;
    g_autofree char *xml = NULL;

    if (!(pool = qemuTPMVolumeLookupPool(conn, src)) ||
        !(pooldef = qemuTPMVolumeGetPoolDef(pool, src)) ||
        !(vol = virStorageVolLookupByName(pool, src->volume)) ||
        !(xml = virStorageVolGetXMLDesc(vol, 0)))
        return NULL;

    return virStorageVolDefParse(pooldef, xml, NULL, VIR_VOL_XML_PARSE_OPT_CAPACITY);
}


static int
qemuTPMVolumeCheckFormat(const virStorageSourcePoolDef *src,
                         const virStorageVolDef *vol)
{
    const virStorageEncryption *encryption = vol->target.encryption;

    if (vol->target.format != VIR_STORAGE_FILE_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has format '%3$s', which is not supported yet"),
                       src->volume, src->pool,
                       virStorageFileFormatTypeToString(vol->target.format));
        return -1;
    }

    if (encryption && encryption->format != VIR_STORAGE_ENCRYPTION_FORMAT_VTPM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has encryption format '%3$s', which is not supported yet"),
                       src->volume, src->pool,
                       virStorageEncryptionFormatTypeToString(encryption->format));
        return -1;
    }

    return 0;
}


/* Both the volume and the domain may be silent about the version. */
static int
qemuTPMVolumeSetVersion(virDomainTPMEmulatorDef *emulator,
                        virDomainTPMVersion version)
{
    if (version == VIR_DOMAIN_TPM_VERSION_DEFAULT)
        return 0;

    if (emulator->version != VIR_DOMAIN_TPM_VERSION_DEFAULT &&
        emulator->version != version) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' holds a TPM of version %3$s, but the domain requires version %4$s"),
                       emulator->srcpool->volume, emulator->srcpool->pool,
                       virDomainTPMVersionTypeToString(version),
                       virDomainTPMVersionTypeToString(emulator->version));
        return -1;
    }

    emulator->version = version;
    return 0;
}


/* Reports unusable content in preference to a missing identity. */
static int
qemuTPMVolumeReportUnknown(const virDomainTPMEmulatorDef *emulator,
                           const char *path)
{
    const virStorageSourcePoolDef *src = emulator->srcpool;
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenUnlocked(path, src->pool, src->volume);
    char expected[VIR_UUID_STRING_BUFLEN];
    virTPMState state;

    if (fd < 0 || virTPMStateProbe(fd, path, &state) < 0)
        return -1;

    if (state.kind != VIR_TPM_STATE_BLANK &&
        virStorageVolTPMCheckState(&state, src->pool, src->volume) < 0)
        return -1;

    if (!emulator->hasidentity) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has no identity, and cannot take the TPM of the guest: restore its description '%1$s.tpm.xml' and set the uuid from it in the <source> of the guest's TPM"),
                       src->volume, src->pool);
        return -1;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' has no identity, expected '%3$s': restore its description '%1$s.tpm.xml'"),
                   src->volume, src->pool,
                   virUUIDFormat(emulator->identity, expected));
    return -1;
}


static int
qemuTPMVolumeReportAnother(const virDomainTPMEmulatorDef *emulator,
                           const unsigned char *uuid)
{
    const virStorageSourcePoolDef *src = emulator->srcpool;
    char found[VIR_UUID_STRING_BUFLEN];
    char expected[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(uuid, found);

    if (!emulator->hasidentity) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has identity '%3$s', but the identity of the guest's TPM is not known: if they are the same, set the uuid in the <source> of the guest's TPM"),
                       src->volume, src->pool, found);
        return -1;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' has identity '%3$s', expected '%4$s'"),
                   src->volume, src->pool, found,
                   virUUIDFormat(emulator->identity, expected));
    return -1;
}


/* A guest whose memory is restored brings its TPM along, which replaces what is
 * on the volume: only a volume that is known to be of that very TPM takes it. A
 * guest that boots takes what is there. */
static int
qemuTPMVolumeSetIdentity(virDomainTPMEmulatorDef *emulator,
                         const virStorageVolDef *vol,
                         bool boots)
{
    const virStorageVolTPMDef *tpm = vol->tpm;
    bool known = tpm && tpm->hasuuid;

    if (boots) {
        if ((emulator->hasidentity = known))
            memcpy(emulator->identity, tpm->uuid, VIR_UUID_BUFLEN);
        return 0;
    }

    if (!known)
        return qemuTPMVolumeReportUnknown(emulator, vol->target.path);

    if (!emulator->hasidentity ||
        memcmp(emulator->identity, tpm->uuid, VIR_UUID_BUFLEN) != 0)
        return qemuTPMVolumeReportAnother(emulator, tpm->uuid);

    return 0;
}


static void
qemuTPMVolumeSetSecret(virDomainTPMDef *tpm,
                       const virSecretLookupTypeDef *secret)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);

    virSecretLookupDefClear(&priv->volume.secret);

    if (secret)
        virSecretLookupDefCopy(&priv->volume.secret, secret);
}


static int
qemuTPMVolumeResolve(virConnectPtr conn,
                     virDomainTPMDef *tpm,
                     bool boots)
{
    virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    g_autoptr(virStorageVolDef) vol = NULL;

    if (!(vol = qemuTPMVolumeGetDef(conn, emulator->srcpool)) ||
        qemuTPMVolumeCheckFormat(emulator->srcpool, vol) < 0 ||
        qemuTPMVolumeSetIdentity(emulator, vol, boots) < 0)
        return -1;

    if (vol->tpm && qemuTPMVolumeSetVersion(emulator, vol->tpm->version) < 0)
        return -1;

    g_free(emulator->source_path);
    emulator->source_path = g_strdup(vol->target.path);
    qemuTPMVolumeSetSecret(tpm, virStorageVolTPMGetSecret(vol->target.encryption));

    return 0;
}


int
qemuTPMVolumePrepareDomain(virDomainDef *def,
                           bool boots)
{
    g_autoptr(virConnect) conn = NULL;
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        virDomainTPMDef *tpm = def->tpms[i];

        if (!virDomainTPMDefHasVolume(tpm))
            continue;

        if (!conn && !(conn = virGetConnectStorage()))
            return -1;

        if (qemuTPMVolumeResolve(conn, tpm, boots) < 0)
            return -1;
    }

    return 0;
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
                       emulator->srcpool->volume, emulator->srcpool->pool);
        return -1;
    }

    return qemuValidateDomainDeviceDef(&dev, vm->def, driver, priv->qemuCaps);
}


static int
qemuTPMVolumeSetOwner(int fd,
                      const char *path,
                      const virQEMUDriverConfig *cfg)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot stat TPM volume '%1$s'"), path);
        return -1;
    }

    if ((st.st_uid != cfg->swtpm_user || st.st_gid != cfg->swtpm_group) &&
        fchown(fd, cfg->swtpm_user, cfg->swtpm_group) < 0) {
        virReportSystemError(errno,
                             _("cannot change the owner of TPM volume '%1$s' to %2$u:%3$u"),
                             path, cfg->swtpm_user, cfg->swtpm_group);
        return -1;
    }

    if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0) {
        virReportSystemError(errno,
                             _("cannot change the mode of TPM volume '%1$s' to 0600"),
                             path);
        return -1;
    }

    return 0;
}


static void
qemuTPMVolumeReportIdentityBusy(const virDomainTPMEmulatorDef *emulator,
                                int fd)
{
    const virStorageSourcePoolDef *src = emulator->srcpool;
    g_autofree char *holder = virOFDLockDescribeHolder(fd);
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(emulator->identity, uuid);

    if (holder) {
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume, in %4$s"),
                       uuid, src->volume, src->pool, holder);
        return;
    }

    virReportError(VIR_ERR_RESOURCE_BUSY,
                   _("TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume"),
                   uuid, src->volume, src->pool);
}


/* Only this daemon may write there: whoever could replace the file of a lock
 * would have two copies of one TPM run at the same time. */
static char *
qemuTPMVolumeIdentityDir(const virQEMUDriverConfig *cfg)
{
    g_autofree char *run = g_path_get_dirname(cfg->stateDir);

    return g_strdup_printf("%s/tpm-identity", run);
}


static char *
qemuTPMVolumeIdentityPath(const virDomainTPMEmulatorDef *emulator,
                          const char *dir)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    return g_strdup_printf("%s/%s.lock", dir,
                           virUUIDFormat(emulator->identity, uuid));
}


/* A copy of the volume, under another name, must not run at the same time. */
static int
qemuTPMVolumeLockIdentity(const virDomainTPMEmulatorDef *emulator,
                          const virQEMUDriverConfig *cfg)
{
    g_autofree char *dir = qemuTPMVolumeIdentityDir(cfg);
    g_autofree char *path = qemuTPMVolumeIdentityPath(emulator, dir);
    VIR_AUTOCLOSE fd = -1;
    int rc;
    int ret;

    if (g_mkdir_with_parents(dir, 0700) < 0) {
        virReportSystemError(errno, _("cannot create directory '%1$s'"), dir);
        return -1;
    }

    rc = virOFDLockOpen(path, VIR_OFD_LOCK_CREATE, &fd);

    if (rc == -EAGAIN) {
        qemuTPMVolumeReportIdentityBusy(emulator, fd);
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
qemuTPMVolumeRemoveIdentity(const char *path)
{
    VIR_AUTOCLOSE fd = -1;

    if (virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &fd) == 0)
        unlink(path);
}


/* Remembers where in swtpm's log this start begins. Swtpm's user can put what he
 * likes in the log's place: the start is refused then, and nothing is read. */
static void
qemuTPMVolumeMarkLog(virDomainTPMDef *tpm)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);
    struct stat st;

    VIR_FORCE_CLOSE(priv->volume.logfd);
    priv->volume.logfd = open(tpm->data.emulator.logfile,
                              O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (priv->volume.logfd < 0 ||
        fstat(priv->volume.logfd, &st) < 0 || !S_ISREG(st.st_mode)) {
        VIR_FORCE_CLOSE(priv->volume.logfd);
        return;
    }

    priv->volume.logOffset = st.st_size;
    priv->volume.starting = true;
}


/* A lock of ours cannot be taken by another host while this one still has it.
 * swtpm's own can: where its capability is missing, a guest can run, but not
 * come from another host. */
static int
qemuTPMVolumeSelectLock(const virDomainTPMEmulatorDef *emulator,
                        const virQEMUDriverConfig *cfg,
                        qemuTPMVolume *volume)
{
    if (virFileIsSharedFS(emulator->source_path, cfg->sharedFilesystems) != 1)
        return 0;

    volume->handsOver = virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_TPMSTATE_OPT_LOCK) &&
        virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_CMDARG_MIGRATION);

    if (volume->incoming && !volume->handsOver) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is on a shared file system, but swtpm of this host cannot take its lock over from another host: use a swtpm with the capability 'tpmstate-opt-lock'"),
                       emulator->srcpool->volume, emulator->srcpool->pool);
        return -1;
    }

    return 0;
}


static int
qemuTPMVolumeOpenFile(const virDomainTPMEmulatorDef *emulator,
                      qemuTPMVolume *volume)
{
    const virStorageSourcePoolDef *src = emulator->srcpool;

    /* the source's swtpm still has the lock */
    if (volume->incoming && volume->handsOver)
        volume->fd = virStorageVolTPMOpenUnlocked(emulator->source_path, src->pool, src->volume);
    else
        volume->fd = virStorageVolTPMOpen(emulator->source_path, src->pool, src->volume);

    return volume->fd < 0 ? -1 : 0;
}


/* The passphrase encrypts the TPM in the guest's saved memory and in a migration
 * stream, too. */
static void
qemuTPMVolumeReportEncrypted(virDomainObj *vm,
                             const virStorageSourcePoolDef *src)
{
    if (vm->job->asyncJob == VIR_ASYNC_JOB_MIGRATION_IN) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is not encrypted, and cannot take the encrypted TPM of the other host: create an encrypted volume whose secret has the same value"),
                       src->volume, src->pool);
        return;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' is not encrypted, but was encrypted when the guest was saved: restore the volume with the secret that it had"),
                   src->volume, src->pool);
}


static void
qemuTPMVolumeReportOtherPassphrase(virDomainObj *vm,
                                   const virStorageSourcePoolDef *src)
{
    if (vm->job->asyncJob == VIR_ASYNC_JOB_MIGRATION_IN) {
        virReportError(VIR_ERR_AUTH_FAILED,
                       _("secret of TPM volume '%1$s' of pool '%2$s' does not match the one of the other host: set the same value on both hosts"),
                       src->volume, src->pool);
        return;
    }

    virReportError(VIR_ERR_AUTH_FAILED,
                   _("cannot restore the TPM on volume '%1$s' of pool '%2$s', which had another passphrase when the guest was saved"),
                   src->volume, src->pool);
}


/* What a migration brings may be put on a blank volume: swtpm makes nothing there
 * before QEMU has loaded the TPM. */
static int
qemuTPMVolumeCheckContent(virDomainTPMDef *tpm,
                          const virTPMState *state,
                          qemuTPMVolume *volume)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    const virStorageSourcePoolDef *src = emulator->srcpool;
    bool secret = QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.secret.type != VIR_SECRET_LOOKUP_TYPE_NONE;

    if (volume->incoming && state->kind == VIR_TPM_STATE_BLANK) {
        volume->encrypted = secret;
        return 0;
    }

    if (virStorageVolTPMCheckState(state, src->pool, src->volume) < 0 ||
        virStorageVolTPMCheckSecret(state, secret, emulator->source_path,
                                    src->pool, src->volume) < 0)
        return -1;

    volume->encrypted = state->encrypted;
    return 0;
}


/* A TPM that comes encrypted from another host needs a volume with a secret. */
static int
qemuTPMVolumeCheckEncryption(virDomainObj *vm,
                             virDomainTPMDef *tpm,
                             const qemuTPMVolume *volume)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);

    if (volume->incoming && !volume->encrypted &&
        priv->volume.encrypted == VIR_TRISTATE_BOOL_YES) {
        qemuTPMVolumeReportEncrypted(vm, tpm->data.emulator.srcpool);
        return -1;
    }

    priv->volume.encrypted = virTristateBoolFromBool(volume->encrypted);
    return 0;
}


/* A full file system must not destroy the TPM of a running guest. What another
 * host still uses is left alone: that has made the room. */
static int
qemuTPMVolumeMakeRoom(const virStorageSourcePoolDef *src,
                      const qemuTPMVolume *volume)
{
    if (volume->incoming && volume->handsOver)
        return 0;

    return virStorageVolTPMMakeRoom(volume->fd, src->pool, src->volume);
}


/* Whether the storage driver describes the volume as it did when the domain was
 * prepared. */
static bool
qemuTPMVolumeIsUnchanged(virDomainTPMDef *tpm,
                         const virStorageVolDef *vol)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    bool known = vol->tpm && vol->tpm->hasuuid;

    if (STRNEQ(vol->target.path, emulator->source_path) ||
        known != emulator->hasidentity ||
        (known && memcmp(vol->tpm->uuid, emulator->identity, VIR_UUID_BUFLEN) != 0))
        return false;

    if (vol->tpm && vol->tpm->version != VIR_DOMAIN_TPM_VERSION_DEFAULT &&
        vol->tpm->version != emulator->version)
        return false;

    return virStorageVolTPMSecretIsSame(&QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.secret,
                                        virStorageVolTPMGetSecret(vol->target.encryption));
}


/* Between look-up and lock the volume may have been deleted, and another one
 * created in its place. Once the lock is held nobody can do that: what the
 * storage driver says now is about the locked file. */
static int
qemuTPMVolumeVerify(virDomainTPMDef *tpm)
{
    const virStorageSourcePoolDef *src = tpm->data.emulator.srcpool;
    g_autoptr(virConnect) conn = NULL;
    g_autoptr(virStorageVolDef) vol = NULL;

    if (!(conn = virGetConnectStorage()) ||
        !(vol = qemuTPMVolumeGetDef(conn, src)))
        return -1;

    if (qemuTPMVolumeIsUnchanged(tpm, vol))
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("TPM volume '%1$s' of pool '%2$s' changed while the guest was starting: start it again"),
                   src->volume, src->pool);
    return -1;
}


int
qemuTPMVolumeOpen(virQEMUDriver *driver,
                  virDomainObj *vm,
                  virDomainTPMDef *tpm,
                  bool incoming,
                  qemuTPMVolume **volume)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autoptr(qemuTPMVolume) ret = qemuTPMVolumeNew(incoming);
    virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    virTPMState state;

    if (!virDomainTPMDefHasVolume(tpm))
        return 0;

    if (qemuTPMVolumeSelectLock(emulator, cfg, ret) < 0 ||
        qemuTPMVolumeOpenFile(emulator, ret) < 0 ||
        qemuTPMVolumeVerify(tpm) < 0 ||
        virTPMStateProbe(ret->fd, emulator->source_path, &state) < 0 ||
        qemuTPMVolumeCheckContent(tpm, &state, ret) < 0 ||
        qemuTPMVolumeCheckEncryption(vm, tpm, ret) < 0 ||
        qemuTPMVolumeCheckSwtpm(emulator->srcpool, ret->encrypted) < 0 ||
        qemuTPMVolumeCheckVersion(driver, vm, tpm, &state) < 0)
        return -1;

    if (emulator->hasidentity &&
        (ret->identityfd = qemuTPMVolumeLockIdentity(emulator, cfg)) < 0)
        return -1;

    if (qemuTPMVolumeMakeRoom(emulator->srcpool, ret) < 0)
        return -1;

    qemuTPMVolumeMarkLog(tpm);
    *volume = g_steal_pointer(&ret);
    return 0;
}


/* Adds
 *   --tpmstate backend-uri=file://PATH
 * and where swtpm takes a lock of its own
 *   --tpmstate backend-uri=file://PATH,lock --migration release-lock-outgoing,incoming */
static void
qemuTPMVolumeAddState(virCommand *cmd,
                      const char *path,
                      const qemuTPMVolume *volume)
{
    virCommandAddArg(cmd, "--tpmstate");
    virCommandAddArgFormat(cmd, "backend-uri=file://%s%s", path,
                           volume->handsOver ? ",lock" : "");

    if (!volume->handsOver)
        return;

    virCommandAddArg(cmd, "--migration");
    virCommandAddArgFormat(cmd, "release-lock-outgoing%s",
                           volume->incoming ? ",incoming" : "");
}


/* Adds the passphrase, for the volume and for a migration stream, as
 *   --key pwdfd=25,mode=aes-256-cbc --migration-key pwdfd=27,mode=aes-256-cbc */
static int
qemuTPMVolumeAddKeys(virCommand *cmd,
                     virDomainTPMDef *tpm)
{
    const virStorageSourcePoolDef *src = tpm->data.emulator.srcpool;
    int migration;
    int fd;

    if ((fd = virTPMSecretAddFD(cmd, &QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.secret,
                                src->pool, src->volume, &migration)) < 0)
        return -1;

    virCommandAddArg(cmd, "--key");
    virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", fd);
    virCommandAddArg(cmd, "--migration-key");
    virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", migration);
    return 0;
}


/* Runs in the process that is about to become swtpm, which takes a lock of its
 * own on the file, a POSIX one, when QEMU tells it to begin. That one conflicts
 * with ours, even though both are one process's. So ours becomes a POSIX lock,
 * by way of two shared ones, and nobody who writes gets one in between. It
 * survives the execution of swtpm, whose own it then is. */
static int
qemuTPMVolumeConvertLock(void *opaque)
{
    const qemuTPMVolume *volume = opaque;
    struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    size_t i;

    if (virOFDLockAcquireShared(volume->passedfd) < 0 ||
        fcntl(volume->passedfd, F_SETLK, &fl) < 0 ||
        virOFDLockRelease(volume->passedfd) < 0) {
        virReportSystemError(errno, "%s",
                             _("cannot hand over the lock of a TPM volume to swtpm"));
        return -1;
    }

    /* A reader may hold a shared lock for a moment. If this fails each time, swtpm
     * takes the lock itself. */
    fl.l_type = F_WRLCK;
    for (i = 0; fcntl(volume->passedfd, F_SETLK, &fl) < 0 && i < 5; i++)
        g_usleep(10 * 1000);

    return 0;
}


static void
qemuTPMVolumeAddFD(virCommand *cmd,
                   int *fd)
{
    if (*fd < 0)
        return;

    virCommandPassFD(cmd, *fd, VIR_COMMAND_PASS_FD_CLOSE_PARENT);
    *fd = -1;
}


int
qemuTPMVolumeAddSwtpmArgs(virQEMUDriver *driver,
                          qemuTPMVolume *volume,
                          virDomainTPMDef *tpm,
                          virCommand *cmd)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const char *path = tpm->data.emulator.source_path;

    if (!volume)
        return 0;

    qemuTPMVolumeAddState(cmd, path, volume);

    if (volume->encrypted && qemuTPMVolumeAddKeys(cmd, tpm) < 0)
        return -1;

    if (driver->privileged && !(volume->handsOver && volume->incoming) &&
        qemuTPMVolumeSetOwner(volume->fd, path, cfg) < 0)
        return -1;

    /* the source's swtpm has the lock, which is handed over later */
    if (volume->handsOver && volume->incoming)
        VIR_FORCE_CLOSE(volume->fd);

    if (volume->handsOver && !volume->incoming) {
        volume->passedfd = volume->fd;
        virCommandSetPreExecHook(cmd, qemuTPMVolumeConvertLock, volume);
    }

    qemuTPMVolumeAddFD(cmd, &volume->fd);
    qemuTPMVolumeAddFD(cmd, &volume->identityfd);

    QEMU_DOMAIN_TPM_PRIVATE(tpm)->swtpm.can_migrate_shared_storage = volume->handsOver;
    return 0;
}


int
qemuTPMVolumeCheckOfflineSnapshot(const virDomainDef *def)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);

    if (!tpm)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("internal snapshots of a guest that is shut off are not supported for TPM volume '%1$s' of pool '%2$s', which has format 'raw': take the snapshot while the guest is running"),
                   tpm->data.emulator.srcpool->volume, tpm->data.emulator.srcpool->pool);
    return -1;
}


/* Whether a snapshot holds the guest's memory, and with it the TPM. */
static bool
qemuTPMVolumeSnapshotHasMemory(const virDomainSnapshotDef *snapdef)
{
    return snapdef->state == VIR_DOMAIN_SNAPSHOT_RUNNING ||
        snapdef->state == VIR_DOMAIN_SNAPSHOT_PAUSED;
}


void
qemuTPMVolumeWarnSnapshot(const virDomainDef *def,
                          const virDomainSnapshotDef *snapdef)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);

    if (!tpm || qemuTPMVolumeSnapshotHasMemory(snapdef))
        return;

    VIR_WARN("snapshot '%s' of domain '%s' does not include the TPM on volume '%s' of pool '%s'",
             snapdef->parent.name, def->name, tpm->data.emulator.srcpool->volume,
             tpm->data.emulator.srcpool->pool);
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

    if (STREQ_NULLABLE(own->source_path, emulator->source_path))
        return true;

    return copy && own->hasidentity && emulator->hasidentity &&
        memcmp(own->identity, emulator->identity, VIR_UUID_BUFLEN) == 0;
}


/* Takes the locks that swtpm would have, and leaves them when @volume is freed. */
static int
qemuTPMVolumeCheckLocks(virDomainObj *vm,
                        virDomainTPMDef *tpm,
                        qemuTPMVolume *volume)
{
    virQEMUDriver *driver = QEMU_DOMAIN_PRIVATE(vm)->driver;
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    virTPMState state;

    if (!qemuTPMVolumeIsUsedBy(vm, emulator, false) &&
        (qemuTPMVolumeOpenFile(emulator, volume) < 0 ||
         virTPMStateProbe(volume->fd, emulator->source_path, &state) < 0 ||
         qemuTPMVolumeCheckContent(tpm, &state, volume) < 0))
        return -1;

    if (emulator->hasidentity && !qemuTPMVolumeIsUsedBy(vm, emulator, true) &&
        (volume->identityfd = qemuTPMVolumeLockIdentity(emulator, cfg)) < 0)
        return -1;

    return 0;
}


static int
qemuTPMVolumeCheckSecret(virDomainTPMDef *tpm)
{
    const virSecretLookupTypeDef *secret = &QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.secret;
    const virStorageSourcePoolDef *src = tpm->data.emulator.srcpool;
    g_autofree uint8_t *value = NULL;
    size_t len = 0;

    if (secret->type == VIR_SECRET_LOOKUP_TYPE_NONE)
        return 0;

    if (virTPMSecretGet(secret, src->pool, src->volume, &value, &len) < 0)
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
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autoptr(virDomainDef) copy = NULL;
    size_t i;

    if (cfg->swtpmRequireVolume && qemuTPMVolumeCheckPolicy(def) < 0)
        return -1;

    if (!virDomainTPMVolumeFind(def))
        return 0;

    if (!(copy = virDomainDefCopy(def, driver->xmlopt,
                                  QEMU_DOMAIN_PRIVATE(vm)->qemuCaps, true)) ||
        qemuTPMVolumePrepareDomain(copy, boots) < 0)
        return -1;

    for (i = 0; i < copy->ntpms; i++) {
        g_autoptr(qemuTPMVolume) volume = qemuTPMVolumeNew(false);

        if (virDomainTPMDefHasVolume(copy->tpms[i]) &&
            (qemuTPMVolumeCheckLocks(vm, copy->tpms[i], volume) < 0 ||
             qemuTPMVolumeCheckSecret(copy->tpms[i]) < 0))
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
                   snapdef->parent.name, tpm->data.emulator.srcpool->volume,
                   tpm->data.emulator.srcpool->pool);
    return -1;
}


static int
qemuTPMVolumeCheckHandOver(virDomainTPMDef *tpm,
                           char *const *sharedFilesystems)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;

    if (QEMU_DOMAIN_TPM_PRIVATE(tpm)->swtpm.can_migrate_shared_storage ||
        virFileIsSharedFS(emulator->source_path, sharedFilesystems) != 1)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' is on a shared file system, but the guest's swtpm cannot hand its lock over to another host: use a swtpm with the capability 'tpmstate-opt-lock'"),
                   emulator->srcpool->volume, emulator->srcpool->pool);
    return -1;
}


/* swtpm would be killed if there were no room for what QEMU is about to ask for. A
 * file that cannot be opened is no reason to keep a TPM from being saved, that swtpm
 * still has. */
static int
qemuTPMVolumeReserve(const virDomainTPMDef *tpm)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    const virStorageSourcePoolDef *src = emulator->srcpool;
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenUnlocked(emulator->source_path, src->pool, src->volume);

    if (fd >= 0)
        return virStorageVolTPMReserve(fd, src->pool, src->volume);

    VIR_WARN("cannot reserve space: %s", virGetLastErrorMessage());
    virResetLastError();
    return 0;
}


int
qemuTPMVolumePrepareMigration(virQEMUDriver *driver,
                              virDomainObj *vm,
                              bool remote)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    virDomainTPMDef *tpm = virDomainTPMVolumeFind(vm->def);

    /* a guest that has quit meanwhile has no path */
    if (!tpm || !tpm->data.emulator.source_path)
        return 0;

    if (remote && qemuTPMVolumeCheckHandOver(tpm, cfg->sharedFilesystems) < 0)
        return -1;

    return qemuTPMVolumeReserve(tpm);
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


void
qemuTPMVolumeStopped(virQEMUDriver *driver,
                     const virDomainDef *def)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autofree char *dir = qemuTPMVolumeIdentityDir(cfg);
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        const virDomainTPMEmulatorDef *emulator = &def->tpms[i]->data.emulator;
        g_autofree char *path = NULL;

        if (!virDomainTPMDefHasVolume(def->tpms[i]) || !emulator->hasidentity)
            continue;

        path = qemuTPMVolumeIdentityPath(emulator, dir);
        qemuTPMVolumeRemoveIdentity(path);
    }
}


bool
qemuTPMVolumeMayRestoreLabel(const virDomainDef *def,
                             int *fd)
{
    const virDomainTPMDef *tpm = virDomainTPMVolumeFind(def);
    const char *path;

    if (!tpm)
        return true;

    path = tpm->data.emulator.source_path;
    return path && virOFDLockOpen(path, 0, fd) == 0;
}


int
qemuTPMVolumeRestoreLabels(virQEMUDriver *driver,
                           virDomainObj *vm,
                           bool state,
                           bool lockMetadataException)
{
    VIR_AUTOCLOSE fd = -1;

    if (!qemuTPMVolumeMayRestoreLabel(vm->def, &fd) || qemuTPMPathIsUsed(vm->def))
        state = false;

    return qemuSecurityRestoreTPMLabels(driver, vm, state, lockMetadataException);
}


void
qemuTPMVolumeRemoveIdentities(virQEMUDriver *driver)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autofree char *folder = qemuTPMVolumeIdentityDir(cfg);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, folder) < 0)
        return;

    while (virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *path = g_strdup_printf("%s/%s", folder, ent->d_name);

        qemuTPMVolumeRemoveIdentity(path);
    }
}


/* Returns what swtpm has written to its log since the start began, or NULL. The
 * log may have been renamed or truncated meanwhile. */
static char *
qemuTPMVolumeReadLog(virDomainTPMDef *tpm)
{
    const qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);
    g_autofree char *log = NULL;
    off_t offset = priv->volume.logOffset;
    int fd = priv->volume.logfd;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;

    if (st.st_size < offset)
        offset = 0;

    if (lseek(fd, offset, SEEK_SET) < 0 ||
        virFileReadHeaderFD(fd, QEMU_TPM_VOLUME_LOG_MAX, &log) < 0)
        return NULL;

    return g_steal_pointer(&log);
}


/* Whether the last error is about the TPM: QEMU's driver for it or swtpm. */
static bool
qemuTPMVolumeErrorIsTPM(void)
{
    const char *message = virGetLastErrorMessage();

    return strstr(message, "tpm-emulator") || strstr(message, "swtpm");
}


/* Whether the volume's file system is full. swtpm, which maps the file, is then killed
 * by SIGBUS and logs nothing. */
static bool
qemuTPMVolumeIsFull(const char *path)
{
    struct statvfs fs;

    return statvfs(path, &fs) == 0 &&
        (unsigned long long) fs.f_bavail * fs.f_frsize < QEMU_TPM_VOLUME_ROOM;
}


/* Returns the first directory above the volume that the account of swtpm cannot
 * search, or NULL. */
static char *
qemuTPMVolumeFindClosedDir(const char *path,
                           const virQEMUDriverConfig *cfg)
{
    const char *end = path;

    while ((end = strchr(end + 1, '/'))) {
        g_autofree char *dir = g_strndup(path, end - path);

        if (virFileAccessibleAs(dir, X_OK, cfg->swtpm_user, cfg->swtpm_group) < 0)
            return g_steal_pointer(&dir);
    }

    return NULL;
}


/* swtpm's own words tell the reason, but where it has none or does not know. */
static void
qemuTPMVolumeReportSwtpm(virQEMUDriver *driver,
                         const virDomainTPMEmulatorDef *emulator,
                         const char *log)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virStorageSourcePoolDef *src = emulator->srcpool;
    g_autofree char *closed = NULL;

    if (driver->privileged && strstr(log, "Permission denied") &&
        (closed = qemuTPMVolumeFindClosedDir(emulator->source_path, cfg))) {
        virReportSystemError(EACCES,
                             _("swtpm, which runs as user %1$u, cannot search directory '%2$s' above TPM volume '%3$s' of pool '%4$s': allow it, for example with chmod o+x"),
                             cfg->swtpm_user, closed, src->volume, src->pool);
        return;
    }

    if (*log)
        virStorageVolTPMReportSwtpm(log, src->pool, src->volume);

    /* a wrong passphrase is one however full the file system is */
    if (virGetLastErrorCode() != VIR_ERR_AUTH_FAILED &&
        qemuTPMVolumeIsFull(emulator->source_path))
        virReportSystemError(ENOSPC,
                             _("swtpm cannot write TPM volume '%1$s' of pool '%2$s'"),
                             src->volume, src->pool);
}


/* The first two lines are only logged when QEMU's TPM state could not be decrypted.
 * Others count only if the error is about the TPM. */
static void
qemuTPMVolumeReportLog(virDomainObj *vm,
                       const virDomainTPMEmulatorDef *emulator,
                       const char *log)
{
    const virStorageSourcePoolDef *src = emulator->srcpool;

    if (strstr(log, "Missing migration key"))
        qemuTPMVolumeReportEncrypted(vm, src);
    else if (strstr(log, "with the migration key failed"))
        qemuTPMVolumeReportOtherPassphrase(vm, src);
    else if (qemuTPMVolumeErrorIsTPM())
        qemuTPMVolumeReportSwtpm(QEMU_DOMAIN_PRIVATE(vm)->driver, emulator, log);
}


void
qemuTPMVolumeReportStartError(virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->ntpms; i++) {
        virDomainTPMDef *tpm = vm->def->tpms[i];
        g_autofree char *log = NULL;

        if (!virDomainTPMDefHasVolume(tpm) ||
            !QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.starting)
            continue;

        if ((log = qemuTPMVolumeReadLog(tpm)))
            qemuTPMVolumeReportLog(vm, &tpm->data.emulator, log);
    }
}


virErrorPtr
qemuTPMVolumeExplainError(virDomainObj *vm,
                          virErrorPtr error)
{
    if (!error)
        return NULL;

    virErrorRestore(&error);
    qemuTPMVolumeReportStartError(vm);
    virErrorPreserveLast(&error);
    return error;
}
