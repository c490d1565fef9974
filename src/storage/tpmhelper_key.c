/*
 * tpmhelper_key.c: public keys that a TPM has told
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Turns the numbers of a public key into an endorsement key (EK) of a description,
 * which is known by its fingerprint.
 */

#include <config.h>

#include <gnutls/abstract.h>

#include "storage_tpm_certificate.h"
#include "storage_tpm_endorsement.h"
#include "tpmhelper_key.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

typedef struct gnutls_pubkey_st virTPMHelperPubkey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virTPMHelperPubkey, gnutls_pubkey_deinit);

/* TPM_ECC_CURVE, table 4 of the TCG Algorithm Registry */
static const struct {
    uint16_t id;
    gnutls_ecc_curve_t curve;
    const char *key;
} virTPMHelperKeyCurves[] = {
    { 0x0003, GNUTLS_ECC_CURVE_SECP256R1, "secp256r1" },
    { 0x0004, GNUTLS_ECC_CURVE_SECP384R1, "secp384r1" },
    { 0x0005, GNUTLS_ECC_CURVE_SECP521R1, "secp521r1" },
};


static int
virTPMHelperKeyAdd(virStorageVolTPMDef *tpm,
                   const char *key,
                   gnutls_pubkey_t pubkey)
{
    g_autofree char *fingerprint = NULL;
    virStorageVolTPMEndorsement *endorsement;

    if (!(fingerprint = virStorageTPMCertificateFingerprint(pubkey)))
        return -1;

    endorsement = virStorageTPMEndorsementGet(tpm, key);
    if (STRNEQ_NULLABLE(endorsement->fingerprint, fingerprint))
        g_clear_pointer(&endorsement->certificate, g_free);
    g_free(endorsement->fingerprint);
    endorsement->fingerprint = g_steal_pointer(&fingerprint);
    return 0;
}


int
virTPMHelperKeyAddRSA(virStorageVolTPMDef *tpm,
                      const uint8_t *modulus,
                      size_t len,
                      uint32_t exponent)
{
    g_autoptr(virTPMHelperPubkey) pubkey = NULL;
    g_autofree char *key = g_strdup_printf("rsa%zu", len * 8);
    uint32_t be = GUINT32_TO_BE(exponent);
    gnutls_datum_t m = { (unsigned char *)modulus, len };
    gnutls_datum_t e = { (unsigned char *)&be, sizeof(be) };

    if (gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_rsa_raw(pubkey, &m, &e) < 0)
        return -1;

    return virTPMHelperKeyAdd(tpm, key, pubkey);
}


int
virTPMHelperKeyAddECC(virStorageVolTPMDef *tpm,
                      uint16_t curve,
                      const uint8_t *x,
                      size_t xlen,
                      const uint8_t *y,
                      size_t ylen)
{
    g_autoptr(virTPMHelperPubkey) pubkey = NULL;
    gnutls_datum_t px = { (unsigned char *)x, xlen };
    gnutls_datum_t py = { (unsigned char *)y, ylen };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(virTPMHelperKeyCurves); i++) {
        if (virTPMHelperKeyCurves[i].id == curve)
            break;
    }

    if (i == G_N_ELEMENTS(virTPMHelperKeyCurves) ||
        gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_ecc_raw(pubkey, virTPMHelperKeyCurves[i].curve, &px, &py) < 0)
        return -1;

    return virTPMHelperKeyAdd(tpm, virTPMHelperKeyCurves[i].key, pubkey);
}
