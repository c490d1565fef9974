/*
 * storage_tpm_helperpriv.h: functions of storage_tpm_helper.c exposed for tests
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The helper's command line is built, and its output parsed, apart from running it,
 * so that tests can do both.
 */

#ifndef LIBVIRT_STORAGE_TPM_HELPERPRIV_H_ALLOW
# error "storage_tpm_helperpriv.h may only be included by storage_tpm_helper.c or test suites"
#endif /* LIBVIRT_STORAGE_TPM_HELPERPRIV_H_ALLOW */

#pragma once

#include "storage_tpm_helper.h"
#include "vircommand.h"

/* How long swtpm has for each answer, and to end, in seconds. */
extern unsigned int virStorageTPMHelperTimeout;

/* One run of the helper. */
typedef struct _virStorageTPMHelperRun virStorageTPMHelperRun;
struct _virStorageTPMHelperRun {
    const char *command;                  /* what it does, see tpmhelper.c */
    const virStorageTPMHelperSpec *from;
    const virStorageTPMHelperSpec *to;    /* NULL unless it converts */
    int state;                            /* descriptor of the state */
    int output;                           /* descriptor of what it returns, or -1 */
};

/**
 * virStorageTPMHelperBuildCommand:
 * @run: what the helper is to do
 * @helper: the helper
 * @swtpm: the swtpm that it runs
 * @dir: directory for the state, or NULL for none
 *
 * Returns the command that runs the helper, to be given all descriptors; its
 * passphrases, if there are any, are fetched and passed. NULL with an error reported.
 */
virCommand *
virStorageTPMHelperBuildCommand(const virStorageTPMHelperRun *run,
                                const char *helper,
                                const char *swtpm,
                                const char *dir);

/**
 * virStorageTPMHelperParse:
 * @xml: what the helper has printed, or anything else
 * @found: learns what it tells
 *
 * Returns 0 on success, -1 without an error reported if it is not what a helper prints.
 */
int
virStorageTPMHelperParse(const char *xml,
                         virStorageVolTPMDef *found);
