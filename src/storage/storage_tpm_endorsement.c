/*
 * storage_tpm_endorsement.c: endorsement keys (EK) of TPMs and their certificates
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include "storage_tpm_endorsement.h"
#include "viralloc.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

typedef struct gnutls_x509_crt_int virStorageTPMCert;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMCert, gnutls_x509_crt_deinit);

typedef struct gnutls_pubkey_st virStorageTPMPubkey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMPubkey, gnutls_pubkey_deinit);

/* TPM_ECC_CURVE, table 4 of the TCG Algorithm Registry */
static const struct {
    uint16_t id;
    gnutls_ecc_curve_t curve;
    const char *key;
} virStorageTPMCurves[] = {
    { 0x0003, GNUTLS_ECC_CURVE_SECP256R1, "secp256r1" },
    { 0x0004, GNUTLS_ECC_CURVE_SECP384R1, "secp384r1" },
    { 0x0005, GNUTLS_ECC_CURVE_SECP521R1, "secp521r1" },
};


/* Returns the fingerprint: SHA-256 of the DER SubjectPublicKeyInfo. */
static char *
virStorageTPMEndorsementFingerprint(gnutls_pubkey_t key)
{
    g_autofree char *hex = NULL;
    gnutls_datum_t der = { NULL, 0 };

    if (gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der) < 0)
        return NULL;

    hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256, der.data, der.size);
    gnutls_free(der.data);

    return g_strdup_printf("sha256:%s", hex);
}


/* Returns the EK that @tpm has for @key, or NULL. */
static const virStorageVolTPMEndorsement *
virStorageTPMEndorsementFind(const virStorageVolTPMDef *tpm,
                             const char *key)
{
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        if (STREQ(tpm->endorsements[i].key, key))
            return &tpm->endorsements[i];
    }

    return NULL;
}


/* Returns the EK of @tpm for @key, which is added if it has none. */
static virStorageVolTPMEndorsement *
virStorageTPMEndorsementGet(virStorageVolTPMDef *tpm,
                            const char *key)
{
    virStorageVolTPMEndorsement endorsement = { 0 };
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        int order = strcmp(tpm->endorsements[i].key, key);

        if (order == 0)
            return &tpm->endorsements[i];
        if (order > 0)
            break;
    }

    endorsement.key = g_strdup(key);
    /* fails only for a place that there is not */
    ignore_value(VIR_INSERT_ELEMENT(tpm->endorsements, i, tpm->nendorsements, endorsement));
    return &tpm->endorsements[i];
}


int
virStorageTPMEndorsementAddCert(virStorageVolTPMDef *tpm,
                                const char *key,
                                const void *der,
                                size_t len)
{
    g_autoptr(virStorageTPMCert) crt = NULL;
    g_autoptr(virStorageTPMPubkey) pubkey = NULL;
    g_autofree char *fingerprint = NULL;
    gnutls_datum_t in = { (unsigned char *)der, len };
    gnutls_datum_t pem = { NULL, 0 };
    const virStorageVolTPMEndorsement *known = virStorageTPMEndorsementFind(tpm, key);
    virStorageVolTPMEndorsement *endorsement;

    if (gnutls_x509_crt_init(&crt) < 0 ||
        gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_DER) < 0 ||
        gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_x509(pubkey, crt, 0) < 0 ||
        !(fingerprint = virStorageTPMEndorsementFingerprint(pubkey)) ||
        (known && STRNEQ_NULLABLE(known->fingerprint, fingerprint)) ||
        gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) < 0)
        return -1;

    endorsement = virStorageTPMEndorsementGet(tpm, key);
    if (!endorsement->fingerprint)
        endorsement->fingerprint = g_steal_pointer(&fingerprint);
    g_free(endorsement->certificate);
    endorsement->certificate = g_strndup((char *)pem.data, pem.size);
    gnutls_free(pem.data);

    return 0;
}


void
virStorageTPMEndorsementMove(virStorageVolTPMDef *tpm,
                             virStorageVolTPMDef *from)
{
    size_t i;

    for (i = 0; i < from->nendorsements; i++) {
        virStorageVolTPMEndorsement *endorsement;
        virStorageVolTPMEndorsement old;

        endorsement = virStorageTPMEndorsementGet(tpm, from->endorsements[i].key);
        old = *endorsement;
        *endorsement = from->endorsements[i];
        from->endorsements[i] = old;
    }

    virStorageVolTPMDefClearEndorsements(from);
}


static int
virStorageTPMEndorsementAddKey(virStorageVolTPMDef *tpm,
                               const char *key,
                               gnutls_pubkey_t pubkey)
{
    g_autofree char *fingerprint = NULL;
    virStorageVolTPMEndorsement *endorsement;

    if (!(fingerprint = virStorageTPMEndorsementFingerprint(pubkey)))
        return -1;

    endorsement = virStorageTPMEndorsementGet(tpm, key);
    if (STRNEQ_NULLABLE(endorsement->fingerprint, fingerprint))
        g_clear_pointer(&endorsement->certificate, g_free);
    g_free(endorsement->fingerprint);
    endorsement->fingerprint = g_steal_pointer(&fingerprint);
    return 0;
}


int
virStorageTPMEndorsementAddRSA(virStorageVolTPMDef *tpm,
                               const uint8_t *modulus,
                               size_t len,
                               uint32_t exponent)
{
    g_autoptr(virStorageTPMPubkey) pubkey = NULL;
    g_autofree char *key = g_strdup_printf("rsa%zu", len * 8);
    uint32_t be = GUINT32_TO_BE(exponent);
    gnutls_datum_t m = { (unsigned char *)modulus, len };
    gnutls_datum_t e = { (unsigned char *)&be, sizeof(be) };

    if (gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_rsa_raw(pubkey, &m, &e) < 0)
        return -1;

    return virStorageTPMEndorsementAddKey(tpm, key, pubkey);
}


int
virStorageTPMEndorsementAddECC(virStorageVolTPMDef *tpm,
                               uint16_t curve,
                               const uint8_t *x,
                               size_t xlen,
                               const uint8_t *y,
                               size_t ylen)
{
    g_autoptr(virStorageTPMPubkey) pubkey = NULL;
    gnutls_datum_t px = { (unsigned char *)x, xlen };
    gnutls_datum_t py = { (unsigned char *)y, ylen };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(virStorageTPMCurves); i++) {
        if (virStorageTPMCurves[i].id == curve)
            break;
    }

    if (i == G_N_ELEMENTS(virStorageTPMCurves) ||
        gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_ecc_raw(pubkey, virStorageTPMCurves[i].curve, &px, &py) < 0)
        return -1;

    return virStorageTPMEndorsementAddKey(tpm, virStorageTPMCurves[i].key, pubkey);
}


/* The end of a certificate's signature: from 49 to 96 bytes, which no other
 * certificate has. This is asked whenever a volume is looked at, and all of the
 * certificate would take longer. */
static guchar *
virStorageTPMEndorsementSignatureEnd(const char *pem,
                                     size_t *len)
{
    const char *end = strstr(pem, "\n-----END CERTIFICATE");
    const char *begin = end;
    g_autofree char *lines = NULL;
    size_t i;

    /* the last two lines: each stands for whole bytes */
    for (i = 0; begin && i < 2; i++)
        begin = memrchr(pem, '\n', begin - pem);

    if (!begin)
        return NULL;

    lines = g_strndup(begin, end - begin);
    return g_base64_decode(lines, len);
}


static bool
virStorageTPMEndorsementIsIn(const virStorageVolTPMEndorsement *endorsement,
                             const uint8_t *data,
                             size_t len)
{
    size_t sigLen = 0;
    g_autofree guchar *signature = virStorageTPMEndorsementSignatureEnd(endorsement->certificate,
                                                                        &sigLen);

    return sigLen > 0 && memmem(data, len, signature, sigLen);
}


/* Whether there is a certificate of an endorsement key, of whichever TPM: it has
 * the extended key usage tcg-kp-EKCertificate, 2.23.133.8.1. */
static bool
virStorageTPMEndorsementHasAny(const uint8_t *data,
                               size_t len)
{
    const uint8_t usage[] = { 0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x01 };

    return memmem(data, len, usage, sizeof(usage));
}


virTristateBool
virStorageTPMEndorsementMatchState(const virStorageVolTPMDef *tpm,
                                   const uint8_t *data,
                                   size_t len)
{
    bool named = false;
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        const virStorageVolTPMEndorsement *endorsement = &tpm->endorsements[i];

        if (!endorsement->certificate || !*endorsement->certificate)
            continue;

        if (virStorageTPMEndorsementIsIn(endorsement, data, len))
            return VIR_TRISTATE_BOOL_YES;
        named = true;
    }

    if (named && virStorageTPMEndorsementHasAny(data, len))
        return VIR_TRISTATE_BOOL_NO;

    return VIR_TRISTATE_BOOL_ABSENT;
}
