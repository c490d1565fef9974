/*
 * storage_tpm_helper.h: have libvirt_tpmhelper open TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whatever opens a TPM for the storage driver goes through these functions: none of
 * it is done in the process of the daemon.
 */

#pragma once

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "virsecret.h"

/* Which TPM it is that is opened. The names are for error messages. */
typedef struct _virStorageTPMHelperSpec virStorageTPMHelperSpec;
struct _virStorageTPMHelperSpec {
    const char *pool;
    const char *vol;
    virDomainTPMVersion version;
    const virSecretLookupTypeDef *secret; /* that encrypts the state; NULL if it is clear */
};

/**
 * virStorageTPMHelperInspect:
 * @spec: which TPM it is
 * @bytes: its state, a linear file that virTPMStateProbeBytes() has recognised
 * @found: learns the TPM's endorsement keys, with their certificates, its active PCR
 *         banks, and gets an inspection; nothing if the TPM is of version 1.2
 *
 * Opens a copy of the state with its secret, and asks what TPM it is. What it tells is
 * known to have the form that XML has, and no more: it may be anything.
 *
 * Returns 0 on success, -1 with an error reported that says why the state cannot be
 * used. VIR_ERR_AUTH_FAILED if it cannot be decrypted; VIR_ERR_OPERATION_TIMEOUT,
 * VIR_ERR_OPERATION_ABORTED or VIR_ERR_INTERNAL_ERROR if that is not known.
 */
int virStorageTPMHelperInspect(const virStorageTPMHelperSpec *spec,
                               const virStorageTPMBytes *bytes,
                               virStorageVolTPMDef *found)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMHelperDecrypt:
 * @spec: which TPM it is
 * @bytes: its state, a linear file that virTPMStateProbeBytes() has recognised
 *
 * Opens a copy of the state with its secret.
 *
 * Returns the permanent state in clear, or NULL with an error reported as by
 * virStorageTPMHelperInspect().
 */
virStorageTPMBytes *virStorageTPMHelperDecrypt(const virStorageTPMHelperSpec *spec,
                                               const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMHelperConvert:
 * @from: which TPM it is
 * @to: the same TPM with another secret or none, and the names of the new volume
 * @bytes: its state, a linear file that virTPMStateProbeBytes() has recognised
 *
 * The state is in clear only in memory, and not in that of this process.
 *
 * Returns the state, a linear file, encrypted with the secret of @to, or in clear if it
 * has none; NULL with an error reported as by virStorageTPMHelperInspect().
 */
virStorageTPMBytes *virStorageTPMHelperConvert(const virStorageTPMHelperSpec *from,
                                               const virStorageTPMHelperSpec *to,
                                               const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
