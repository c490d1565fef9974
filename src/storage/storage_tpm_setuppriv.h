/*
 * storage_tpm_setuppriv.h: functions of storage_tpm_setup.c exposed for tests
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW
# error "storage_tpm_setuppriv.h may only be included by storage_tpm_setup.c or test suites"
#endif /* LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW */

#pragma once

#include "storage_conf_tpm.h"
#include "vircommand.h"

/* In seconds. */
extern unsigned int virStorageTPMSetupTimeout;

virCommand *
virStorageTPMSetupBuildCommand(const virStoragePoolDef *pool,
                               const virStorageVolDef *vol,
                               const char *swtpm_setup,
                               const char *scratch);

int
virStorageTPMSetupReadEndorsements(virStorageVolTPMDef *tpm,
                                   const char *scratch);

void
virStorageTPMSetupLearnPcrBanks(virStorageVolTPMDef *tpm,
                                const char *output);
