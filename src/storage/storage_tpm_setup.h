/*
 * storage_tpm_setup.h: manufacture of TPM state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf.h"

/* The state of a TPM, as it is to stand in its volume. */
typedef struct _virStorageTPMBytes virStorageTPMBytes;
struct _virStorageTPMBytes {
    uint8_t *data;
    size_t len;
};

/**
 * virStorageTPMBytesFree:
 * @bytes: bytes, or NULL; they are overwritten
 */
void virStorageTPMBytesFree(virStorageTPMBytes *bytes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMBytes, virStorageTPMBytesFree);

/**
 * virStorageTPMManufacture:
 * @rundir: the driver's run directory
 * @pool: definition of the pool
 * @vol: the volume to make; its TPM has a version and a uuid
 *
 * Makes a TPM: endorsement keys (EK), certificates for them and for the
 * platform from swtpm's local CA, PCR banks and profile, as swtpm_setup(8)
 * does. Runs as 'tss', whose CA that is; an unprivileged daemon as itself.
 * @vol's TPM learns its EKs and PCR banks.
 *
 * Returns the state, encrypted as @vol asks, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMManufacture(const char *rundir,
                                             const virStoragePoolDef *pool,
                                             virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSetupSweep:
 * @rundir: the driver's run directory
 *
 * Removes what a daemon that was killed while it made a TPM has left there.
 * To be called before the first TPM is made: only one daemon uses @rundir.
 */
void virStorageTPMSetupSweep(const char *rundir)
    ATTRIBUTE_NONNULL(1);
