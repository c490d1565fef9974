/*
 * storage_tpm_verify.c: compare a TPM volume with its description
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A copy of the state is opened by libvirt_tpmhelper, and the endorsement keys that the
 * TPM has are compared with those of the description. Neither is changed by that. An
 * encrypted state cannot be told from that of another TPM without opening it.
 */

#include <config.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_helper.h"
#include "storage_tpm_store.h"
#include "storage_tpm_verify.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


virTristateBool
virStorageTPMVerifyIsSame(const virStorageVolTPMDef *described,
                          const virStorageVolTPMDef *found,
                          const virStorageVolTPMEndorsement **differs,
                          const virStorageVolTPMEndorsement **from)
{
    virTristateBool same = VIR_TRISTATE_BOOL_ABSENT;
    size_t i;
    size_t j;

    for (i = 0; i < described->nendorsements; i++) {
        const virStorageVolTPMEndorsement *one = &described->endorsements[i];

        for (j = 0; j < found->nendorsements; j++) {
            const virStorageVolTPMEndorsement *other = &found->endorsements[j];

            if (STRNEQ(one->key, other->key))
                continue;

            if (STREQ(one->fingerprint, other->fingerprint)) {
                same = VIR_TRISTATE_BOOL_YES;
                continue;
            }

            if (differs)
                *differs = one;
            if (from)
                *from = other;
            return VIR_TRISTATE_BOOL_NO;
        }
    }

    return same;
}


int
virStorageTPMVerifyEndorsements(const virStorageVolTPMDef *described,
                                const virStorageVolTPMDef *found,
                                const char *pool,
                                const char *vol,
                                bool *verified)
{
    const virStorageVolTPMEndorsement *one = NULL;
    const virStorageVolTPMEndorsement *other = NULL;
    virTristateBool same = virStorageTPMVerifyIsSame(described, found, &one, &other);

    if (same == VIR_TRISTATE_BOOL_NO) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds another TPM than described, whose endorsement key %3$s has fingerprint %4$s, expected %5$s"),
                       vol, pool, one->key, other->fingerprint, one->fingerprint);
        return -1;
    }

    if (verified)
        *verified = same == VIR_TRISTATE_BOOL_YES;
    return 0;
}


/* Runs the TPM. Nothing can be asked of one of version 1.2, which has opened. */
static int
virStorageTPMVerifyInspect(const virStorageTPMHelperSpec *spec,
                           const virStorageTPMBytes *bytes,
                           virStorageVolTPMDef *tpm)
{
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

    if (virStorageTPMHelperInspect(spec, bytes, found) < 0)
        return -1;

    if (!found->inspection)
        found->inspection = g_new0(virStorageVolTPMInspection, 1);
    tpm->inspection = g_steal_pointer(&found->inspection);

    if (spec->version != VIR_DOMAIN_TPM_VERSION_2_0)
        return 0;

    tpm->inspection->activePcrBanks = g_steal_pointer(&found->activePcrBanks);

    return virStorageTPMVerifyEndorsements(tpm, found, spec->pool, spec->vol,
                                           &tpm->inspection->verified);
}


virStorageTPMBytes *
virStorageTPMVerifyRead(const char *pool,
                        const virStorageVolDef *vol,
                        bool secret,
                        virTPMState *state)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;

    if (!(bytes = virStorageTPMStoreFor(vol)->read(vol->target.path, pool, vol->name)))
        return NULL;

    virTPMStateProbeBytes(bytes->data, bytes->len, state);

    if (state->kind != VIR_TPM_STATE_BLANK &&
        (virStorageVolTPMCheckState(state, pool, vol->name) < 0 ||
         virStorageVolTPMCheckSecret(state, secret, vol->target.path, pool, vol->name) < 0))
        return NULL;

    return g_steal_pointer(&bytes);
}


int
virStorageTPMVerify(const char *pool,
                    virStorageVolDef *vol)
{
    virStorageTPMHelperSpec spec = {
        .pool = pool,
        .vol = vol->name,
        .secret = virStorageVolTPMGetSecret(vol->target.encryption),
    };
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTPMState state;

    if (!(bytes = virStorageTPMVerifyRead(pool, vol, spec.secret, &state)))
        return -1;

    if (state.kind == VIR_TPM_STATE_BLANK)
        return 0;

    if (!vol->tpm)
        vol->tpm = g_new0(virStorageVolTPMDef, 1);

    spec.version = virStorageVolTPMVersionFromState(state.version);
    if (spec.version == VIR_DOMAIN_TPM_VERSION_DEFAULT)
        spec.version = virStorageVolTPMVersionOrDefault(vol->tpm->version);

    return virStorageTPMVerifyInspect(&spec, bytes, vol->tpm);
}
