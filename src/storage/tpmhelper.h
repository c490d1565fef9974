/*
 * tpmhelper.h: what the storage driver and libvirt_tpmhelper agree on
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The driver runs libvirt_tpmhelper to open a TPM, and learns from its exit code
 * how that has ended, see tpmhelper.c. On stderr there is what swtpm has said, and
 * then, unless all was done, one line of the helper's own that begins with
 * VIR_TPM_HELPER_PREFIX.
 */

#pragma once

#define VIR_TPM_HELPER_PROGRAM "libvirt_tpmhelper"
#define VIR_TPM_HELPER_PREFIX VIR_TPM_HELPER_PROGRAM ": "

/* How the helper ends. The codes of a refusal or timeout tell which of two TPMs it
 * was: the one that was given, or the one that a state was converted for. */
typedef enum {
    VIR_TPM_HELPER_EXIT_DONE = 0,
    VIR_TPM_HELPER_EXIT_FAILED = 1,         /* own line: what has failed on this host */
    VIR_TPM_HELPER_EXIT_USAGE = 2,          /* own line: the arguments that it takes */
    VIR_TPM_HELPER_EXIT_REFUSED = 3,        /* own line: the command that swtpm refused */
    VIR_TPM_HELPER_EXIT_TIMEOUT = 4,        /* own line: the command not answered in time */
    VIR_TPM_HELPER_EXIT_OUTPUT_REFUSED = 5, /* as 3, of the converted TPM */
    VIR_TPM_HELPER_EXIT_OUTPUT_TIMEOUT = 6, /* as 4, of the converted TPM */
} virTPMHelperExit;

/* What it tells of a TPM, and what the log of swtpm has, is not longer, in bytes. */
#define VIR_TPM_HELPER_TEXT_MAX (64 * 1024)
