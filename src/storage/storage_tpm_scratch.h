/*
 * storage_tpm_scratch.h: private directories for swtpm's user
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* What the name of such a directory begins with, by what it is for. */
#define VIR_STORAGE_TPM_SCRATCH_SETUP "tpm-setup."
#define VIR_STORAGE_TPM_SCRATCH_STATE "tpm-state."

/* The path of a private directory that goes with everything in it. */
typedef char virStorageTPMScratch;

/**
 * virStorageTPMScratchNew:
 * @rundir: the driver's run directory
 * @prefix: one of VIR_STORAGE_TPM_SCRATCH_*
 * @uid, @gid: who owns the directory, -1 for this process
 *
 * Makes a directory that only its owner may enter, and root.
 *
 * Returns its path, or NULL with an error reported.
 */
virStorageTPMScratch *virStorageTPMScratchNew(const char *rundir,
                                              const char *prefix,
                                              uid_t uid,
                                              gid_t gid)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMScratchFree:
 * @scratch: a directory, or NULL; it is removed with the files in it
 */
void virStorageTPMScratchFree(virStorageTPMScratch *scratch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMScratch, virStorageTPMScratchFree);

/**
 * virStorageTPMScratchSweep:
 * @rundir: the driver's run directory
 *
 * Removes the directories that a daemon which was killed has left, ends the processes
 * that it had started on them, and has virStorageTPMScratchRunDir() return @rundir.
 * To be called before the first directory is made: only one daemon uses @rundir.
 */
void virStorageTPMScratchSweep(const char *rundir)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMScratchRunDir:
 *
 * Returns the run directory if what is in it is in memory and on no disk: if it is
 * on a tmpfs. Returns NULL if it is not, or not known yet.
 */
const char *virStorageTPMScratchRunDir(void);
