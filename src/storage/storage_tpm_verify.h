/*
 * storage_tpm_verify.h: compare a TPM volume with its description
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a volume can be opened, and holds the TPM that its description names: for
 * vol-dumpxml --inspect, and for whatever brings other state to a volume.
 */

#pragma once

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "virtpmstate.h"

/**
 * virStorageTPMVerifyIsSame:
 * @described: how a TPM is described
 * @found: what a TPM has told, see virStorageTPMHelperInspect()
 * @differs, @from: unless NULL set to the first two endorsement keys (EKs) that differ
 *
 * Compares the EKs of the same algorithm and size.
 *
 * Returns VIR_TRISTATE_BOOL_YES if there are any and all are the same,
 * VIR_TRISTATE_BOOL_NO if two differ, VIR_TRISTATE_BOOL_ABSENT if there are none:
 * then it is not known whether it is the same TPM.
 */
virTristateBool virStorageTPMVerifyIsSame(const virStorageVolTPMDef *described,
                                          const virStorageVolTPMDef *found,
                                          const virStorageVolTPMEndorsement **differs,
                                          const virStorageVolTPMEndorsement **from)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMVerifyEndorsements:
 * @described: the TPM that a volume is described as
 * @found: what the volume's TPM has told, see virStorageTPMHelperInspect()
 * @pool: name of the pool, for error messages
 * @vol: name of the volume, for error messages
 * @verified: set to whether @found has an endorsement key (EK) of @described; may
 *            be NULL
 *
 * Compares the EKs that both have. There are none if one of the two has no EK:
 * then it is not known whether they are the same TPM.
 *
 * Returns 0 on success, -1 with an error reported if an EK differs.
 */
int virStorageTPMVerifyEndorsements(const virStorageVolTPMDef *described,
                                    const virStorageVolTPMDef *found,
                                    const char *pool,
                                    const char *vol,
                                    bool *verified)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(4) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMVerifyRead:
 * @pool: name of the pool
 * @vol: name and path of a volume
 * @secret: whether a secret is known for the volume
 * @state: set to what the bytes are
 *
 * Reads a volume, also one that is in use, and checks that what it holds can be opened.
 *
 * Returns the bytes if they are whole TPM state or blank, NULL with an error reported
 * otherwise.
 */
virStorageTPMBytes *virStorageTPMVerifyRead(const char *pool,
                                            const virStorageVolDef *vol,
                                            bool secret,
                                            virTPMState *state)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMVerify:
 * @pool: name of the pool
 * @vol: a volume as it is described; nobody else uses this definition
 *
 * Opens a copy of the volume's state in memory, with the volume's secret, and sets
 * the inspection of @vol's TPM to what it tells. A blank volume has none. Neither
 * the volume nor anything beside it is changed.
 *
 * Returns 0 on success, -1 with an error reported if the volume cannot be used or is
 * another TPM than it is described as.
 */
int virStorageTPMVerify(const char *pool,
                        virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
