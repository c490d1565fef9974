/*
 * storage_tpm_scratch.h: private directories for swtpm's user
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * swtpm wants its state under a name. It gets one in a directory that no other user
 * can enter, and that goes when swtpm has ended or the daemon starts again.
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
 * @prefix: one of VIR_STORAGE_TPM_SCRATCH_*
 * @uid, @gid: who owns the directory, -1 for this process
 *
 * Makes a directory that only its owner may enter, and root, in the run directory that
 * virStorageTPMScratchInitialize() was given.
 *
 * Returns its path, or NULL with an error reported.
 */
virStorageTPMScratch *virStorageTPMScratchNew(const char *prefix,
                                              uid_t uid,
                                              gid_t gid)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMScratchFree:
 * @scratch: a directory, or NULL; it is removed with the files in it
 */
void virStorageTPMScratchFree(virStorageTPMScratch *scratch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMScratch, virStorageTPMScratchFree);

/**
 * virStorageTPMScratchInitialize:
 * @rundir: the driver's run directory, which only one daemon uses
 *
 * Removes the directories that a daemon which was killed has left, and ends the processes
 * that it had started on them. To be called once, before anything else of this file, when
 * no client is served yet.
 */
void virStorageTPMScratchInitialize(const char *rundir)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMScratchIsMemory:
 *
 * Returns true if what is in these directories is in memory and on no disk, as the run
 * directory is on a tmpfs; false if it is not.
 */
bool virStorageTPMScratchIsMemory(void)
    G_GNUC_WARN_UNUSED_RESULT;
