/*
 * qemu_tpm_path_find.h: find out whether a path leads to a volume of a tpm pool
 *
 * Shared by the files of qemu_tpm_path only.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* Where a path is in a pool. */
typedef struct _qemuTPMPathPlace qemuTPMPathPlace;
struct _qemuTPMPathPlace {
    char *pool;   /* NULL if it is in none that is known */
    char *volume; /* NULL if it is the pool's directory, or one above it */
    bool above;   /* whether it is a directory above that of the pool */
    bool unsure;  /* whether it may be in a pool that could not be looked at */
};

void qemuTPMPathPlaceClear(qemuTPMPathPlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(qemuTPMPathPlace, qemuTPMPathPlaceClear);

/**
 * qemuTPMPathResolve:
 * @path: a path
 *
 * Returns the path without symbolic links, also if there is nothing at its end.
 */
char *qemuTPMPathResolve(const char *path)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathFindOrGuess:
 * @path: a path, for the log
 * @canon: the same without symbolic links
 * @place: cleared; set to where it is in a pool
 *
 * Looks for the path in the directories of all tpm pools. If the storage driver cannot
 * be asked, or not each pool be looked at, a volume is recognised by its description,
 * and @place has no names. An error that is reported already stays so.
 *
 * Returns whether the path is in a pool, or the other way round.
 */
bool qemuTPMPathFindOrGuess(const char *path,
                            const char *canon,
                            qemuTPMPathPlace *place)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * qemuTPMPathFindVolume:
 * @path, @canon, @place: as for qemuTPMPathFindOrGuess()
 *
 * The storage driver is not asked about what is neither state nor described as a
 * volume. State that is locked may be a volume of a pool that cannot be looked at.
 *
 * Returns whether the path is part of a volume, or a directory with volumes in it.
 */
bool qemuTPMPathFindVolume(const char *path,
                           const char *canon,
                           qemuTPMPathPlace *place)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * qemuTPMPathIsDescribed:
 * @canon: a path without symbolic links
 *
 * Returns whether it is the description of a volume, or has one beside it or in it.
 */
bool qemuTPMPathIsDescribed(const char *canon)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathIsState:
 * @canon: a path without symbolic links
 *
 * Returns whether it is a file that holds TPM state, whole or damaged; or is blank and
 * has another name, which may be that of a volume.
 */
bool qemuTPMPathIsState(const char *canon)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
