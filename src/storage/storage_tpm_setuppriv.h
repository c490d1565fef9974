/*
 * storage_tpm_setuppriv.h: functions of storage_tpm_setup.c exposed for tests
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of swtpm_setup is built without running it, and what it has left is read
 * without it, so that both can be compared with what is expected.
 */

#ifndef LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW
# error "storage_tpm_setuppriv.h may only be included by storage_tpm_setup.c or test suites"
#endif /* LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW */

#pragma once

#include "storage_conf_tpm.h"
#include "vircommand.h"

/* How long swtpm_setup may run, in seconds. */
extern unsigned int virStorageTPMSetupTimeout;

/**
 * virStorageTPMSetupBuildCommand:
 * @pool: definition of the pool
 * @vol: the volume to make
 * @swtpm_setup: the program
 * @scratch: a directory that the program may write to
 *
 * Returns the command that makes the TPM of @vol as "state" in @scratch; its
 * passphrase, if there is one, is fetched and passed. NULL with an error reported.
 */
virCommand *
virStorageTPMSetupBuildCommand(const virStoragePoolDef *pool,
                               const virStorageVolDef *vol,
                               const char *swtpm_setup,
                               const char *scratch);

/**
 * virStorageTPMSetupReadEndorsements:
 * @tpm: gets endorsement keys and their certificates
 * @scratch: the directory in which swtpm_setup has left the certificates
 *
 * A certificate that cannot be read is left out, with a warning in the log.
 *
 * Returns 0 on success, -1 with an error reported if the directory cannot be read.
 */
int
virStorageTPMSetupReadEndorsements(virStorageVolTPMDef *tpm,
                                   const char *scratch);

/**
 * virStorageTPMSetupLearnPcrBanks:
 * @tpm: gets the active PCR banks, unless they were asked for
 * @output: what swtpm_setup has printed
 */
void
virStorageTPMSetupLearnPcrBanks(virStorageVolTPMDef *tpm,
                                const char *output);
