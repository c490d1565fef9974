/*
 * tpmhelper_inspect.h: ask a TPM 2.0 what it is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libvirt_tpmhelper learns of a TPM when it has opened it: all of that is told by
 * the TPM, and shown to users.
 */

#pragma once

#include "storage_conf_tpm.h"
#include "tpmhelper_swtpm.h"

/**
 * virTPMHelperInspect:
 * @swtpm: a swtpm whose TPM is on, of version 2.0
 * @found: learns the TPM's EKs, with their certificates, its active PCR banks, whether
 *         it refuses passwords, what its NV memory has room for, and its profile
 *
 * Starts the TPM up and asks it by TPM commands of the TPM 2.0 Library, part 3.
 * An EK is what TPM2_CreatePrimary makes of the endorsement seed with the template
 * of the TCG EK Credential Profile; a certificate is read from where the profile
 * puts it, if the platform has put it there, and only taken with the key that it is
 * for. Nothing that the owner of a TPM, and so a guest, keeps in it is asked. What
 * the TPM does not tell is not learned.
 *
 * This clears the TPM, by TPM2_Clear, because a guest may have set a password for
 * the endorsement hierarchy: @swtpm must be thrown away afterwards.
 *
 * Returns 0 on success, -1 if swtpm does not answer, see virTPMHelperSwtpmGetFailure().
 */
int virTPMHelperInspect(virTPMHelperSwtpm *swtpm,
                        virStorageVolTPMDef *found)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
