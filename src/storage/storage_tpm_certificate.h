/*
 * storage_tpm_certificate.h: certificates of endorsement keys (EK)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Learns the key that a certificate is for. Used where a TPM is made, and by
 * libvirt_tpmhelper.
 */

#pragma once

#include <gnutls/abstract.h>

#include "storage_conf_tpm.h"

/**
 * virStorageTPMCertificateAdd:
 * @tpm: learns the certificate
 * @key: algorithm and size of the key, "rsa2048"
 * @der: a DER certificate of @len bytes
 *
 * Adds an EK with the certificate, or the certificate to the EK that @tpm
 * has for @key: then it must be a certificate for that very EK.
 *
 * Returns 0 on success, -1 without an error reported if it is no certificate or
 * one for another key than @tpm has.
 */
int virStorageTPMCertificateAdd(virStorageVolTPMDef *tpm,
                                const char *key,
                                const void *der,
                                size_t len)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMCertificateFingerprint:
 * @key: a public key
 *
 * Returns its fingerprint, the SHA-256 of the DER SubjectPublicKeyInfo, as
 * "sha256:..."; NULL without an error reported if it has none.
 */
char *virStorageTPMCertificateFingerprint(gnutls_pubkey_t key)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
