/*
 * storage_tpm_inspect.h: asks a TPM who it is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf_tpm.h"
#include "storage_tpm_swtpm.h"

/**
 * virStorageTPMInspect:
 * @swtpm: a swtpm whose TPM is on, of version 2.0
 * @found: learns the TPM's EKs, with their certificates, and its active PCR banks
 *
 * Starts the TPM up and asks it by TPM commands: TPM2_GetCapability,
 * TPM2_ReadPublic, TPM2_NV_ReadPublic and TPM2_NV_Read of the TPM 2.0 Library,
 * part 3. EKs and certificates are looked for where the TCG EK Credential
 * Profile puts them. A guest may have removed either: what the TPM does not
 * tell is not learned.
 *
 * Returns 0 on success, -1 with an error reported if swtpm does not answer.
 */
int virStorageTPMInspect(virStorageTPMSwtpm *swtpm,
                         virStorageVolTPMDef *found)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
