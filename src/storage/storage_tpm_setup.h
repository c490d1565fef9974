/*
 * storage_tpm_setup.h: make TPM state with swtpm_setup
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A new TPM, as swtpm_setup makes it. Nothing is written to a pool's directory here.
 */

#pragma once

#include "storage_conf.h"
#include "storage_tpm_bytes.h"

/**
 * virStorageTPMManufacture:
 * @pool: definition of the pool
 * @vol: the volume to make; its TPM has a version and a uuid
 *
 * Makes a TPM: endorsement keys (EK), certificates for them and for the
 * platform from swtpm's local CA, PCR banks and profile, as swtpm_setup(8)
 * does. Runs it as virStorageTPMChildUser() says.
 * @vol's TPM learns its EKs and PCR banks.
 *
 * Returns the state, encrypted as @vol asks, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMManufacture(const virStoragePoolDef *pool,
                                             virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2)
    G_GNUC_WARN_UNUSED_RESULT;
