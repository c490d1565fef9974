/*
 * storage_vol_tpm_use.h: who uses a TPM volume that hosts share
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where hosts share a file system, a swtpm that can hand the lock of its volume to another
 * host has that lock itself. At times nobody has it: for a moment on the way, and after QEMU
 * has read the TPM for a dump or a snapshot, until the guest runs again. So a swtpm that
 * locks its volume also inherits a shared lock on a file beside that, .NAME.lock, which it
 * keeps until it ends. Whoever has got the lock of a volume asks for this one before anything is
 * done to the volume.
 *
 * The file is empty, stays when it is not locked, and is removed with the volume.
 */

#pragma once

#include "internal.h"

/**
 * virStorageVolTPMUsePath:
 * @path: a volume's file
 *
 * Returns the path of the file whose lock the volume's users have.
 */
char *virStorageVolTPMUsePath(const char *path)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMUseTest:
 * @path: a volume's file; without its lock the answer may be another one in a moment
 * @fd: -1; set to a descriptor of the locked file if there is a user, to ask for its name
 *
 * Returns 0 if no swtpm uses the volume, -EAGAIN if one does, another -errno if that
 * cannot be told.
 */
int virStorageVolTPMUseTest(const char *path,
                            int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMUseLock:
 * @path: a volume's file
 * @flags: bitwise-OR of virOFDLockFlags
 * @fd: -1; set to a descriptor with the lock of the volume, if it is had
 *
 * Takes the lock of a volume by virOFDLockOpen(), unless a swtpm uses the volume that has
 * given it up for a while.
 *
 * Returns 0 on success, -errno otherwise: -EAGAIN if the volume is in use.
 */
int virStorageVolTPMUseLock(const char *path,
                            unsigned int flags,
                            int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMUseBegin:
 * @path: a volume's file, whose lock the caller has
 * @fd: -1; set to a descriptor for swtpm to inherit, close-on-exec
 *
 * Takes the lock of the volume's users if there is none. Makes the file if it is missing.
 *
 * Returns 0 on success, -EAGAIN if there is a user, whose name can be asked for by @fd,
 * another -errno on failure.
 */
int virStorageVolTPMUseBegin(const char *path,
                             int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMUseJoin:
 * @path: a volume's file, whose lock the caller does not need
 * @fd: -1; set to a descriptor for swtpm to inherit, close-on-exec
 *
 * Takes the lock of the volume's users beside one who has it: the swtpm that is going to
 * hand the volume over.
 *
 * Returns 1 on success, 0 if there is no user, -errno on failure: -EAGAIN if somebody has
 * the lock alone, whose name can be asked for by @fd.
 */
int virStorageVolTPMUseJoin(const char *path,
                            int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMUseRemove:
 * @path: a volume's file that is about to be removed, whose lock the caller has
 *
 * Removes the file of the lock of the volume's users, who are none.
 */
void virStorageVolTPMUseRemove(const char *path)
    ATTRIBUTE_NONNULL(1);
