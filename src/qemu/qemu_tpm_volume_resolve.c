/*
 * qemu_tpm_volume_resolve.c: find the volume that a domain's TPM is on
 *
 * <storage> names a pool and a volume. When the domain starts, the storage driver is
 * asked for them, and the live definition gets the path, format, encryption, version
 * and identity. Once the volume is locked the storage driver is asked again, as another
 * volume may have taken the place of the first meanwhile.
 *
 * virDomainDiskTranslateSourcePool() does this for disks. It is not used here, because
 * it finds the path only: format, encryption, version and identity are in the volume's
 * XML. It also refuses tpm pools, which keeps disks out of them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "datatypes.h"
#include "domain_conf_tpm.h"
#include "storage_conf.h"
#include "storage_conf_tpm.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virfile.h"
#include "viruuid.h"
#define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
#include "qemu_tpm_volumepriv.h"

#define VIR_FROM_THIS VIR_FROM_QEMU


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


/* Both the volume and the domain may be silent about the version. */
int
qemuTPMVolumeSetVersion(virDomainTPMEmulatorDef *emulator,
                        virDomainTPMVersion version)
{
    if (version == VIR_DOMAIN_TPM_VERSION_DEFAULT)
        return 0;

    if (emulator->version != VIR_DOMAIN_TPM_VERSION_DEFAULT &&
        emulator->version != version) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' holds a TPM of version %3$s, but the domain requires version %4$s"),
                       emulator->volume->srcpool->volume, emulator->volume->srcpool->pool,
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
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenUnlocked(path, src->pool, src->volume);
    virTPMState state;

    if (fd < 0 || virTPMStateProbe(fd, path, &state) < 0)
        return -1;

    if (state.kind != VIR_TPM_STATE_BLANK &&
        virStorageVolTPMCheckState(&state, src->pool, src->volume) < 0)
        return -1;

    if (!emulator->identity) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has no identity, and cannot take the TPM of the guest: restore its description '%1$s.tpm.xml' and set the uuid from it in the <source> of the guest's TPM"),
                       src->volume, src->pool);
        return -1;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' has no identity, expected '%3$s': restore its description '%1$s.tpm.xml'"),
                   src->volume, src->pool, emulator->identity);
    return -1;
}


static int
qemuTPMVolumeReportAnother(const virDomainTPMEmulatorDef *emulator,
                           const char *found)
{
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;

    if (!emulator->identity) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has identity '%3$s', but the identity of the guest's TPM is not known: if they are the same, set the uuid in the <source> of the guest's TPM"),
                       src->volume, src->pool, found);
        return -1;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' has identity '%3$s', expected '%4$s'"),
                   src->volume, src->pool, found, emulator->identity);
    return -1;
}


/* Returns the uuid of the TPM that the volume is described to hold, in @buf; NULL if
 * there is none. */
static const char *
qemuTPMVolumeGetIdentity(const virStorageVolDef *vol,
                         char *buf)
{
    return vol->tpm && vol->tpm->hasuuid ? virUUIDFormat(vol->tpm->uuid, buf) : NULL;
}


/* A guest whose memory is restored brings its TPM along, which replaces what is
 * on the volume: only a volume that is known to be of that very TPM takes it. A
 * guest that boots takes what is there. */
static int
qemuTPMVolumeSetIdentity(virDomainTPMEmulatorDef *emulator,
                         const virStorageVolDef *vol,
                         bool boots)
{
    char buf[VIR_UUID_STRING_BUFLEN];
    const char *found = qemuTPMVolumeGetIdentity(vol, buf);

    if (boots) {
        virDomainTPMVolumeSetIdentity(emulator, found ? vol->tpm->uuid : NULL);
        return 0;
    }

    if (!found)
        return qemuTPMVolumeReportUnknown(emulator, vol->target.path);

    if (STRNEQ_NULLABLE(emulator->identity, found))
        return qemuTPMVolumeReportAnother(emulator, found);

    return 0;
}


/* Moves what swtpm is to be told of the volume to the live definition. */
static int
qemuTPMVolumeSetSource(virStorageSource *src,
                       virStorageVolDef *vol)
{
    src->srcpool->pooltype = VIR_STORAGE_POOL_TPM;
    src->srcpool->voltype = vol->type;
    src->srcpool->actualtype = VIR_STORAGE_TYPE_FILE;
    src->format = vol->target.format;

    virStorageEncryptionFree(src->encryption);
    src->encryption = g_steal_pointer(&vol->target.encryption);

    return qemuTPMVolumeGetOps(src) ? 0 : -1;
}


static int
qemuTPMVolumeResolve(virConnectPtr conn,
                     virDomainTPMEmulatorDef *emulator,
                     bool boots)
{
    g_autoptr(virStorageVolDef) vol = NULL;

    if (!(vol = qemuTPMVolumeGetDef(conn, emulator->volume->srcpool)) ||
        qemuTPMVolumeSetSource(emulator->volume, vol) < 0 ||
        qemuTPMVolumeSetIdentity(emulator, vol, boots) < 0)
        return -1;

    if (vol->tpm && qemuTPMVolumeSetVersion(emulator, vol->tpm->version) < 0)
        return -1;

    virDomainTPMVolumeSetPath(emulator, vol->target.path);
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

        if (qemuTPMVolumeResolve(conn, &tpm->data.emulator, boots) < 0)
            return -1;
    }

    return 0;
}


/* Whether the storage driver describes the volume as it did when the domain was
 * prepared. */
static bool
qemuTPMVolumeIsUnchanged(const virDomainTPMEmulatorDef *emulator,
                         const virStorageVolDef *vol)
{
    const virStorageSource *src = emulator->volume;
    char buf[VIR_UUID_STRING_BUFLEN];

    if (STRNEQ(vol->target.path, src->path) ||
        STRNEQ_NULLABLE(qemuTPMVolumeGetIdentity(vol, buf), emulator->identity))
        return false;

    if (vol->tpm && vol->tpm->version != VIR_DOMAIN_TPM_VERSION_DEFAULT &&
        vol->tpm->version != emulator->version)
        return false;

    return virStorageVolTPMSecretIsSame(virStorageVolTPMGetSecret(src->encryption),
                                        virStorageVolTPMGetSecret(vol->target.encryption));
}


/* Between look-up and lock the volume may have been deleted, and another one
 * created in its place. Once the lock is held nobody can do that: what the
 * storage driver says now is about the locked file. */
int
qemuTPMVolumeVerify(const virDomainTPMEmulatorDef *emulator)
{
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;
    g_autoptr(virConnect) conn = NULL;
    g_autoptr(virStorageVolDef) vol = NULL;

    if (!(conn = virGetConnectStorage()) ||
        !(vol = qemuTPMVolumeGetDef(conn, src)))
        return -1;

    if (qemuTPMVolumeIsUnchanged(emulator, vol))
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("TPM volume '%1$s' of pool '%2$s' changed while the guest was starting: start it again"),
                   src->volume, src->pool);
    return -1;
}
