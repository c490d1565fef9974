/*
 * storage_tpm_child.h: run a program as the user of swtpm
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For programs that may hang, crash or be taken over by what they read: as whom they
 * are run, for how long, and what becomes of what they print.
 */

#pragma once

#include "internal.h"
#include "vircommand.h"

/**
 * virStorageTPMChildUser:
 * @uid, @gid: set to the account, or -1 for an unprivileged daemon
 *
 * Tells as whom swtpm_setup and libvirt_tpmhelper are run: SWTPM_USER of the build,
 * to whom swtpm's local CA belongs; an unprivileged daemon runs them as itself.
 *
 * Returns 0 on success, -1 with an error reported if there is no such account.
 */
int virStorageTPMChildUser(uid_t *uid,
                           gid_t *gid)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMChildRun:
 * @cmd: the program
 * @uid, @gid: as whom it is run, from virStorageTPMChildUser()
 * @seconds: how long it may run
 * @output: set to what it has written to stdout, at most VIR_TPM_STATE_MAX_SIZE bytes
 * @errors: set to what it has written to stderr
 * @status: set to its exit status; to what waitpid() tells if virCommandRawStatus()
 *          was called
 *
 * Runs a program, and ends with it what it has started, unless it succeeds.
 *
 * Returns 1 if it has ended, 0 without an error reported if it has not ended in time
 * and was killed, -1 with an error reported.
 */
int virStorageTPMChildRun(virCommand *cmd,
                          uid_t uid,
                          gid_t gid,
                          unsigned int seconds,
                          char **output,
                          char **errors,
                          int *status)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(5) ATTRIBUTE_NONNULL(6)
    ATTRIBUTE_NONNULL(7) G_GNUC_WARN_UNUSED_RESULT;
