/*
 * storage_tpm_describe.c: find out what a TPM volume is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a volume is follows from its bytes and its sidecar. Where they differ the bytes
 * are right; what clear state shows to be the description of another TPM is ignored. Only
 * headers are parsed here: nothing is run, and no TPM is opened.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "datatypes.h"
#include "driver.h"
#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_describe.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_store.h"
#include "storage_util.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virfile.h"
#include "viridentity.h"
#include "virlog.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_describe");


virStorageVolDef *
virStorageTPMDescribeNew(const virStoragePoolDef *def,
                         const char *name)
{
    virStorageVolDef *vol = g_new0(virStorageVolDef, 1);

    vol->name = g_strdup(name);
    vol->type = VIR_STORAGE_VOL_FILE;
    vol->target.path = g_strdup_printf("%s/%s", def->target.path, name);
    vol->key = g_strdup(vol->target.path);
    return vol;
}


/* Fills in what the bytes tell. */
static void
virStorageTPMDescribeFromState(virStorageVolDef *vol,
                               const virTPMState *state)
{
    virStorageEncryptionFormatType encryption = VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT;

    vol->target.format = VIR_STORAGE_FILE_RAW;
    g_clear_pointer(&vol->target.encryption, virStorageEncryptionFree);

    if (state->kind == VIR_TPM_STATE_QCOW2)
        vol->target.format = VIR_STORAGE_FILE_QCOW2;
    else if (state->kind == VIR_TPM_STATE_LUKS)
        encryption = VIR_STORAGE_ENCRYPTION_FORMAT_LUKS;
    else if (state->encrypted)
        encryption = VIR_STORAGE_ENCRYPTION_FORMAT_VTPM;

    if (encryption == VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT)
        return;

    vol->target.encryption = g_new0(virStorageEncryption, 1);
    vol->target.encryption->format = encryption;
}


int
virStorageTPMDescribeFromFile(const virStoragePoolDef *def,
                              virStorageVolDef *vol,
                              virTPMState *state,
                              virStorageTPMBytes **clear)
{
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    if ((fd = virStorageVolTPMOpenFile(vol->target.path, O_RDONLY, &sb)) < 0) {
        if (clear)
            virStorageVolTPMReportOpen(errno, vol->target.path, def->name, vol->name);
        return -1;
    }

    if (virStorageBackendUpdateVolTargetInfoFD(&vol->target, fd, &sb) < 0 ||
        virTPMStateProbe(fd, vol->target.path, state) < 0)
        return -1;

    if (clear && state->kind == VIR_TPM_STATE_LINEAR && !state->encrypted &&
        !(*clear = virStorageTPMBytesReadSome(fd, vol->target.path, state->end)))
        return -1;

    virStorageTPMDescribeFromState(vol, state);
    return 0;
}


/* The secret of an encrypted volume whose sidecar is lost. */
static virStorageEncryption *
virStorageTPMDescribeFindSecret(const virStorageVolDef *vol)
{
    g_autoptr(virConnect) conn = NULL;
    g_autoptr(virSecret) secret = NULL;
    virStorageEncryption *enc = NULL;
    VIR_IDENTITY_AUTORESTORE virIdentity *oldident = virIdentityElevateCurrent();

    if (!oldident || !(conn = virGetConnectSecret()) ||
        !(secret = virSecretLookupByUsage(conn, VIR_SECRET_USAGE_TYPE_VTPM,
                                          vol->target.path))) {
        virResetLastError();
        return NULL;
    }

    enc = g_new0(virStorageEncryption, 1);
    enc->format = VIR_STORAGE_ENCRYPTION_FORMAT_VTPM;
    enc->secrets = g_new0(virStorageEncryptionSecret *, 1);
    enc->secrets[0] = g_new0(virStorageEncryptionSecret, 1);
    enc->nsecrets = 1;
    enc->secrets[0]->type = VIR_STORAGE_ENCRYPTION_SECRET_TYPE_PASSPHRASE;
    enc->secrets[0]->seclookupdef.type = VIR_SECRET_LOOKUP_TYPE_UUID;
    memcpy(enc->secrets[0]->seclookupdef.u.uuid, secret->uuid, VIR_UUID_BUFLEN);

    return enc;
}


/* Whether clear state is known to be another TPM than the one that its sidecar
 * describes, by the certificates that both hold: it was replaced by hand, or by an
 * upload that was interrupted. */
static bool
virStorageTPMDescribeIsAnother(const virStorageVolDef *sidecar,
                               const virStorageTPMBytes *clear)
{
    return sidecar && sidecar->tpm && clear &&
        virStorageTPMEndorsementMatchState(sidecar->tpm, clear->data,
                                           clear->len) == VIR_TRISTATE_BOOL_NO;
}


/* Drops identity and certificates from a sidecar that is that of another TPM. A guest
 * may write to its TPM, and an upload replace the state and then the sidecar, while
 * they are read: before anything is dropped, both are read again, the state as of
 * one moment. */
static int
virStorageTPMDescribeCheckSidecar(virStoragePoolDef *def,
                                  const virStorageVolDef *vol,
                                  const virStorageTPMBytes *clear,
                                  virStorageVolDef **sidecar)
{
    g_autoptr(virStorageTPMBytes) moment = NULL;

    if (!virStorageTPMDescribeIsAnother(*sidecar, clear))
        return 0;

    if (!(moment = virStorageTPMStoreFor(vol)->read(vol->target.path, def->name, vol->name))) {
        virResetLastError();
        return 0;
    }

    g_clear_pointer(sidecar, virStorageVolDefFree);
    if (virStorageTPMSidecarRead(def, vol->name, -1, sidecar) < 0)
        return -1;

    if (!virStorageTPMDescribeIsAnother(*sidecar, moment))
        return 0;

    VIR_WARN("description '%s%s' of TPM volume '%s' of pool '%s' is that of another TPM: "
             "its identity and certificates are ignored",
             vol->target.path, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX, vol->name, def->name);
    virStorageVolTPMDefClearLearned((*sidecar)->tpm);
    return 0;
}


/* Adds what the sidecar tells to what the bytes tell; where they differ, the
 * bytes are right. */
static int
virStorageTPMDescribeFromSidecar(virStoragePoolDef *def,
                                 virStorageVolDef *vol,
                                 const virTPMState *state,
                                 const virStorageTPMBytes *clear)
{
    virDomainTPMVersion version = virStorageVolTPMVersionFromState(state->version);
    g_autoptr(virStorageVolDef) sidecar = NULL;
    virStorageEncryption *enc = NULL;

    if (state->kind != VIR_TPM_STATE_LINEAR &&
        state->kind != VIR_TPM_STATE_BLANK &&
        state->kind != VIR_TPM_STATE_DAMAGED)
        return 0;

    if (virStorageTPMSidecarRead(def, vol->name, -1, &sidecar) < 0 ||
        virStorageTPMDescribeCheckSidecar(def, vol, clear, &sidecar) < 0)
        return -1;

    if (sidecar) {
        vol->tpm = g_steal_pointer(&sidecar->tpm);
        vol->target.capacity = sidecar->target.capacity;
    }
    if (!vol->tpm)
        vol->tpm = g_new0(virStorageVolTPMDef, 1);

    if (version != VIR_DOMAIN_TPM_VERSION_DEFAULT)
        vol->tpm->version = version;

    /* a question to vol-create-from, whatever a sidecar says */
    vol->tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_DEFAULT;
    if (state->kind == VIR_TPM_STATE_BLANK) {
        ignore_value(virStorageVolTPMDefClearLost(vol->tpm));
        vol->tpm->manufacture = VIR_TRISTATE_BOOL_NO;
    } else {
        vol->tpm->manufacture = VIR_TRISTATE_BOOL_ABSENT;
    }

    /* Where a secret is expected and the state is clear, somebody has replaced
     * it: that is for whoever is about to use it to refuse. */
    if (sidecar && sidecar->target.encryption &&
        sidecar->target.encryption->format == VIR_STORAGE_ENCRYPTION_FORMAT_VTPM &&
        virStorageVolTPMGetSecret(sidecar->target.encryption))
        enc = g_steal_pointer(&sidecar->target.encryption);
    else if (state->encrypted)
        enc = virStorageTPMDescribeFindSecret(vol);

    if (!enc)
        return 0;

    virStorageEncryptionFree(vol->target.encryption);
    vol->target.encryption = enc;
    return 0;
}


/* Fills in what a volume is now. Its pool is not locked: @def and @vol are the
 * caller's own. */
int
virStorageTPMDescribe(virStoragePoolDef *def,
                      virStorageVolDef *vol)
{
    g_autoptr(virStorageTPMBytes) clear = NULL;
    virTPMState state;

    if (virStorageTPMDescribeFromFile(def, vol, &state, &clear) < 0) {
        if (virGetLastErrorCode() == VIR_ERR_NO_STORAGE_VOL)
            virStorageTPMDirReportMissing(def, vol->name);
        return -1;
    }

    return virStorageTPMDescribeFromSidecar(def, vol, &state, clear);
}
