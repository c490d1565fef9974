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

/* How long swtpm has for an answer, and to end, in seconds. */
extern unsigned int virStorageTPMSwtpmTimeout;

/**
 * virStorageTPMSwtpmBuildCommand:
 * @spec: which TPM it is
 * @binary: swtpm
 * @data: descriptor of its end of the data channel
 * @control: descriptor of its end of the control channel
 * @state: path of the file that holds the state
 *
 * Returns the command that runs swtpm on the state, to be given both descriptors; its
 * passphrase, if there is one, is fetched and passed. NULL with an error reported.
 */
virCommand *
virStorageTPMSwtpmBuildCommand(const virStorageTPMSwtpmSpec *spec,
                               const char *binary,
                               int data,
                               int control,
                               const char *state);
