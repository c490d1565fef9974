/*
 * storage_tpm_setup.h: make TPM state with swtpm_setup
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf.h"
#include "storage_tpm_bytes.h"

/**
 * virStorageTPMSetupUser:
 * @uid, @gid: set to the account, or -1 for an unprivileged daemon
 *
 * Tells as whom swtpm_setup and swtpm are run: SWTPM_USER of the build, to whom
 * swtpm's local CA belongs; an unprivileged daemon runs them as itself.
 *
 * Returns 0 on success, -1 with an error reported if there is no such account.
 */
int virStorageTPMSetupUser(uid_t *uid,
                           gid_t *gid)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSetupWaitChild:
 * @pid: a child
 * @seconds: how long to wait at most
 *
 * Waits until a child has ended, but does not reap it, so that its process group
 * stays its own.
 *
 * Returns 1 if it has succeeded, 0 if not, -1 without an error reported if it has
 * not ended in time.
 */
int virStorageTPMSetupWaitChild(pid_t pid,
                                unsigned int seconds)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMManufacture:
 * @rundir: the driver's run directory
 * @pool: definition of the pool
 * @vol: the volume to make; its TPM has a version and a uuid
 *
 * Makes a TPM: endorsement keys (EK), certificates for them and for the
 * platform from swtpm's local CA, PCR banks and profile, as swtpm_setup(8)
 * does. Runs it as virStorageTPMSetupUser() says.
 * @vol's TPM learns its EKs and PCR banks.
 *
 * Returns the state, encrypted as @vol asks, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMManufacture(const char *rundir,
                                             const virStoragePoolDef *pool,
                                             virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
