/*
 * storage_tpm_dir.h: the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is asked of the directory itself: whether it may be used, which one it is, and why
 * a volume may be missing from it.
 */

#pragma once

#include <sys/stat.h>

#include "storage_conf.h"

/**
 * virStorageTPMDirCopyLocation:
 * @pool: definition of a tpm pool
 *
 * Returns what has to be known of the pool while it is unlocked, and may be changed
 * or gone: its type, name and path.
 */
virStoragePoolDef *virStorageTPMDirCopyLocation(const virStoragePoolDef *pool)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirCheckPath:
 * @def: definition of a pool
 *
 * Refuses a path that swtpm cannot be given: a comma ends its option, and neither a
 * backslash nor a control character can be quoted.
 *
 * Returns 0 if the path can be used, -1 with an error reported.
 */
int virStorageTPMDirCheckPath(const virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirOthersMayWrite:
 * @sb: a pool's directory, or a file in it
 *
 * Returns whether its mode lets others write than its owner, and than the groups of root
 * and of this daemon.
 */
bool virStorageTPMDirOthersMayWrite(const struct stat *sb)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirCheck:
 * @def: definition of a pool
 *
 * Checks that the directory exists and that only its owner, and root's group or the
 * daemon's, may write to it.
 *
 * Returns 0 if so, -1 with an error reported.
 */
int virStorageTPMDirCheck(const virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirReadInfo:
 * @def: the caller's own definition of a pool
 *
 * Fills in the size of the directory's file system, and the directory's owner and mode.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageTPMDirReadInfo(virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirSync:
 * @dir: a directory in which a file was renamed or removed
 *
 * Waits until that is on the disk. It is so for everybody already, so that a failure is
 * but a warning in the log.
 */
void virStorageTPMDirSync(const char *dir)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMDirRemember:
 * @def: definition of a pool that has a volume
 *
 * Remembers which directory held it, for virStorageTPMDirReportMissing().
 */
void virStorageTPMDirRemember(const virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMDirForget:
 * @def: definition of a pool whose directory was made on purpose
 *
 * Forgets which directory held its volumes.
 */
void virStorageTPMDirForget(const virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMDirHasChanged:
 * @def: definition of the pool
 *
 * Returns whether the pool's directory is another one than when it last had volumes: the
 * file system with these is not mounted.
 */
bool virStorageTPMDirHasChanged(const virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMDirReportMissing:
 * @def: definition of a pool
 * @name: name of a volume whose file is not there
 *
 * Reports VIR_ERR_NO_STORAGE_VOL. Does not advise to create a volume where the one that
 * is asked for may only be out of sight.
 */
void virStorageTPMDirReportMissing(const virStoragePoolDef *def,
                                   const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
