/*
 * storage_tpm_endorsement.h: endorsement keys (EK) of TPMs and their certificates
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf_tpm.h"

/**
 * virStorageTPMEndorsementAddCert:
 * @tpm: learns the certificate
 * @key: algorithm and size of the key, "rsa2048"
 * @der: a DER certificate of @len bytes
 *
 * Adds an EK with the certificate, or the certificate to the EK that @tpm
 * has for @key: then it must be a certificate for that very EK. EKs are kept in
 * the order of their keys.
 *
 * Returns 0 on success, -1 without an error reported if it is no certificate or
 * one for another key than @tpm has.
 */
int virStorageTPMEndorsementAddCert(virStorageVolTPMDef *tpm,
                                    const char *key,
                                    const void *der,
                                    size_t len)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMEndorsementMove:
 * @tpm: gets the EKs, in place of those that it has for the same keys
 * @from: a TPM that loses its EKs
 */
void virStorageTPMEndorsementMove(virStorageVolTPMDef *tpm,
                                  virStorageVolTPMDef *from)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMEndorsementAddRSA:
 * @tpm: learns the key
 * @modulus: the modulus of @len bytes, big-endian
 * @exponent: the public exponent
 *
 * Adds an EK, in place of one that @tpm has for such a key. It keeps the certificate
 * of that one only if it is for the same key.
 *
 * Returns 0 on success, -1 without an error reported if it is no RSA key.
 */
int virStorageTPMEndorsementAddRSA(virStorageVolTPMDef *tpm,
                                   const uint8_t *modulus,
                                   size_t len,
                                   uint32_t exponent)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMEndorsementAddECC:
 * @tpm: learns the key
 * @curve: a TPM_ECC_CURVE of the TCG Algorithm Registry
 * @x, @y: coordinates of @xlen and @ylen bytes, big-endian
 *
 * As virStorageTPMEndorsementAddRSA().
 *
 * Returns 0 on success, -1 without an error reported if it is no key on a
 * curve that is known.
 */
int virStorageTPMEndorsementAddECC(virStorageVolTPMDef *tpm,
                                   uint16_t curve,
                                   const uint8_t *x,
                                   size_t xlen,
                                   const uint8_t *y,
                                   size_t ylen)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(5)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMEndorsementMatchState:
 * @tpm: the description of a TPM
 * @data: clear TPM state of @len bytes
 *
 * Whether the state is that of the TPM that @tpm describes, as far as the state's
 * certificates of endorsement keys tell: those that @tpm names are in it byte for
 * byte, and are known by the end of their signature. It is mistakes that this finds,
 * not forgeries.
 *
 * Returns YES if the state has a certificate that @tpm names; NO if @tpm names
 * certificates, and the state has only others; ABSENT if one of both has none, as
 * after the platform's firmware has removed them.
 */
virTristateBool virStorageTPMEndorsementMatchState(const virStorageVolTPMDef *tpm,
                                                   const uint8_t *data,
                                                   size_t len)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
