/*
 * storage_tpm_certificate.c: certificates of endorsement keys (EK)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The storage driver parses only certificates that swtpm_setup has just made. Those
 * that a state holds are parsed by libvirt_tpmhelper.
 */

#include <config.h>

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include "storage_tpm_certificate.h"
#include "storage_tpm_endorsement.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

typedef struct gnutls_x509_crt_int virStorageTPMCert;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMCert, gnutls_x509_crt_deinit);

typedef struct gnutls_pubkey_st virStorageTPMPubkey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMPubkey, gnutls_pubkey_deinit);


char *
virStorageTPMCertificateFingerprint(gnutls_pubkey_t key)
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
virStorageTPMCertificateFindKey(const virStorageVolTPMDef *tpm,
                                const char *key)
{
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        if (STREQ(tpm->endorsements[i].key, key))
            return &tpm->endorsements[i];
    }

    return NULL;
}


int
virStorageTPMCertificateAdd(virStorageVolTPMDef *tpm,
                            const char *key,
                            const void *der,
                            size_t len)
{
    g_autoptr(virStorageTPMCert) crt = NULL;
    g_autoptr(virStorageTPMPubkey) pubkey = NULL;
    g_autofree char *fingerprint = NULL;
    gnutls_datum_t in = { (unsigned char *)der, len };
    gnutls_datum_t pem = { NULL, 0 };
    const virStorageVolTPMEndorsement *known = virStorageTPMCertificateFindKey(tpm, key);
    virStorageVolTPMEndorsement *endorsement;

    if (gnutls_x509_crt_init(&crt) < 0 ||
        gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_DER) < 0 ||
        gnutls_pubkey_init(&pubkey) < 0 ||
        gnutls_pubkey_import_x509(pubkey, crt, 0) < 0 ||
        !(fingerprint = virStorageTPMCertificateFingerprint(pubkey)) ||
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
