/*
 * storage_tpm_endorsement.h: endorsement keys (EK) of TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The EKs in the description of a TPM, and whether a state contains them.
 */

#pragma once

#include "storage_conf_tpm.h"

/**
 * virStorageTPMEndorsementGet:
 * @tpm: the description of a TPM
 * @key: algorithm and size of a key, "rsa2048"
 *
 * EKs are kept in the order of their keys.
 *
 * Returns the EK of @tpm for @key, which is added if it has none.
 */
virStorageVolTPMEndorsement *virStorageTPMEndorsementGet(virStorageVolTPMDef *tpm,
                                                         const char *key)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMEndorsementMove:
 * @tpm: gets the EKs, in place of those that it has for the same keys
 * @from: a TPM that loses its EKs
 */
void virStorageTPMEndorsementMove(virStorageVolTPMDef *tpm,
                                  virStorageVolTPMDef *from)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

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
