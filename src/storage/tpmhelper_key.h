/*
 * tpmhelper_key.h: public keys that a TPM has told
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The TPM tells a key as numbers; a description has its algorithm, size and
 * fingerprint.
 */

#pragma once

#include "storage_conf_tpm.h"

/**
 * virTPMHelperKeyAddRSA:
 * @tpm: learns the key
 * @modulus: the modulus of @len bytes, big-endian
 * @exponent: the public exponent
 *
 * Adds an EK, in place of one that @tpm has for such a key. It keeps the certificate
 * of that one only if it is for the same key.
 *
 * Returns 0 on success, -1 without an error reported if it is no RSA key.
 */
int virTPMHelperKeyAddRSA(virStorageVolTPMDef *tpm,
                          const uint8_t *modulus,
                          size_t len,
                          uint32_t exponent)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperKeyAddECC:
 * @tpm: learns the key
 * @curve: a TPM_ECC_CURVE of the TCG Algorithm Registry
 * @x, @y: coordinates of @xlen and @ylen bytes, big-endian
 *
 * As virTPMHelperKeyAddRSA().
 *
 * Returns 0 on success, -1 without an error reported if it is no key on a
 * curve that is known.
 */
int virTPMHelperKeyAddECC(virStorageVolTPMDef *tpm,
                          uint16_t curve,
                          const uint8_t *x,
                          size_t xlen,
                          const uint8_t *y,
                          size_t ylen)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(5)
    G_GNUC_WARN_UNUSED_RESULT;
