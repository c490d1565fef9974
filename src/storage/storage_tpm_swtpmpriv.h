/*
 * storage_tpm_swtpmpriv.h: functions of storage_tpm_swtpm.c exposed for tests
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef LIBVIRT_STORAGE_TPM_SWTPMPRIV_H_ALLOW
# error "storage_tpm_swtpmpriv.h may only be included by storage_tpm_swtpm.c or test suites"
#endif /* LIBVIRT_STORAGE_TPM_SWTPMPRIV_H_ALLOW */

#pragma once

#include "storage_tpm_swtpm.h"
#include "vircommand.h"

virCommand *
virStorageTPMSwtpmBuildCommand(const virStorageTPMSwtpmSpec *spec,
                               const char *binary,
                               int data,
                               int control,
                               const char *state);
