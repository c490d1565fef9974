/*
 * storage_vol_tpm.h: open, lock and check the file of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For the storage driver and for the drivers of hypervisors that run a TPM on a volume: what
 * is done to its file before and while it is used, with errors that name pool and volume.
 *
 * Who has the lock of a volume, for how long:
 *
 *  - the storage driver while it wipes, deletes or replaces the volume, opens an upload to
 *    it, or exports it; shared with others while it reads it. A copy or conversion is made
 *    of the bytes that were read;
 *  - virtqemud from before it looks into the volume until swtpm has it, and while it
 *    restores the label of a volume that nobody uses;
 *  - swtpm until it ends, by a descriptor that virtqemud hands to it. Where hosts share the
 *    file system its process has a part of the lock as its own, or the whole if it can hand
 *    that over to another host: storage_vol_tpm_use.h tells what guards the volume while it
 *    does not have it;
 *  - whoever makes a volume, on the file that it is about to publish.
 */

#pragma once

#include <sys/stat.h>

#include "internal.h"
#include "virtpmstate.h"

/**
 * virStorageVolTPMMakeRoom:
 * @fd: descriptor of the volume's file, open for reading and writing, whose lock
 *      the caller holds
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * As virTPMStateMakeRoom().
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_SYSTEM_ERROR with
 * ENOSPC if there is no room.
 */
int virStorageVolTPMMakeRoom(int fd,
                             const char *pool,
                             const char *vol)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMReserve:
 * @fd: descriptor of the volume's file, open for writing; its lock is not needed
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * As virTPMStateReserve().
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_SYSTEM_ERROR with
 * ENOSPC if there is no room.
 */
int virStorageVolTPMReserve(int fd,
                            const char *pool,
                            const char *vol)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMCheckState:
 * @state: what virTPMStateProbe() found
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Checks that swtpm may be run on the volume: only VIR_TPM_STATE_LINEAR
 * passes. Every other kind has an error of its own that says what the volume
 * holds and what to do.
 *
 * Returns 0 if it may, -1 with an error reported otherwise.
 */
int virStorageVolTPMCheckState(const virTPMState *state,
                               const char *pool,
                               const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMCheckSecret:
 * @state: what virTPMStateProbe() found
 * @secret: whether a secret is known for the volume
 * @path: the volume's file, for error messages
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Checks that encrypted state has a secret and clear state has none.
 *
 * Returns 0 if so, -1 with an error reported otherwise.
 */
int virStorageVolTPMCheckSecret(const virTPMState *state,
                                bool secret,
                                const char *path,
                                const char *pool,
                                const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4)
    ATTRIBUTE_NONNULL(5) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMCheckCipher:
 * @state: what virTPMStateProbe() found
 * @name: what holds the state, for error messages
 *
 * Checks that state is not encrypted with AES-128, which swtpm cannot open where it
 * is told to use AES-256, as it is for every volume.
 *
 * Returns 0 if so, -1 with an error reported otherwise.
 */
int virStorageVolTPMCheckCipher(const virTPMState *state,
                                const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMReportSwtpm:
 * @log: what swtpm has logged since it was started on the volume
 * @otherwise: what to report if that is nothing
 * @pool: name of the storage pool
 * @vol: name of the volume
 *
 * Reports why swtpm could not use a volume: VIR_ERR_AUTH_FAILED if it cannot be
 * decrypted; VIR_ERR_CONFIG_UNSUPPORTED if a newer libtpms has made it;
 * VIR_ERR_OPERATION_INVALID if what was decrypted is no permanent state; else
 * VIR_ERR_OPERATION_FAILED with swtpm's words, or with @otherwise.
 */
void virStorageVolTPMReportSwtpm(const char *log,
                                 const char *otherwise,
                                 const char *pool,
                                 const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(4);

/**
 * virStorageVolTPMOpen:
 * @path: the volume's file
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Opens a volume's file for reading and writing and takes its lock, an open
 * file description write lock over the whole file. It is held as long as any
 * process keeps the description open: hand the descriptor to a child and the
 * lock lives as long as the child does. Symbolic links are not followed, and
 * only a regular file is taken. Verifies, once the lock is held, that @path
 * still names the locked file, and that no swtpm uses it that has no lock right
 * now. A lock that is refused is asked for again for some 40 ms.
 *
 * The caller must hold no POSIX lock on the file: they go when any descriptor
 * of it is closed.
 *
 * Returns the descriptor (close-on-exec), or -1 with an error reported:
 * VIR_ERR_RESOURCE_BUSY, naming the holder, if the volume is in use;
 * VIR_ERR_NO_STORAGE_VOL if there is no such file.
 */
int virStorageVolTPMOpen(const char *path,
                         const char *pool,
                         const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMOpenFile:
 * @path: the volume's file
 * @oflags: O_RDONLY or O_RDWR
 * @sb: filled in on success
 *
 * Opens a volume's file if it is of a kind that a volume may be, and takes no lock.
 * Symbolic links are not followed.
 *
 * Returns the descriptor (close-on-exec), or -1 with errno set and no error reported: see
 * virStorageVolTPMReportOpen().
 */
int virStorageVolTPMOpenFile(const char *path,
                             int oflags,
                             struct stat *sb)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMReportOpen:
 * @err: an errno of virStorageVolTPMOpenFile()
 * @path: the volume's file
 * @pool: name of the storage pool
 * @vol: name of the volume
 *
 * Reports why a volume's file cannot be opened, and what to do about it:
 * VIR_ERR_NO_STORAGE_VOL if there is none, VIR_ERR_OPERATION_INVALID if it is of a kind
 * that a volume cannot be, VIR_ERR_RESOURCE_BUSY if it is leased, else
 * VIR_ERR_SYSTEM_ERROR.
 */
void virStorageVolTPMReportOpen(int err,
                                const char *path,
                                const char *pool,
                                const char *vol)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4);

/**
 * virStorageVolTPMReportLock:
 * @err: errno of a lock that was refused
 * @fd: descriptor of the volume's file
 * @path: the volume's file
 * @pool: name of the storage pool
 * @vol: name of the volume
 *
 * Reports why a volume's file cannot be locked: VIR_ERR_RESOURCE_BUSY with the name of
 * the holder for EAGAIN, VIR_ERR_NO_SUPPORT for ENOSYS, else VIR_ERR_SYSTEM_ERROR.
 */
void virStorageVolTPMReportLock(int err,
                                int fd,
                                const char *path,
                                const char *pool,
                                const char *vol)
    ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4) ATTRIBUTE_NONNULL(5);

/**
 * virStorageVolTPMOpenToRead:
 * @path, @pool, @vol: as for virStorageVolTPMOpen()
 *
 * Opens a volume's file for reading only, and takes no lock.
 *
 * Returns the descriptor (close-on-exec), or -1 with an error reported.
 */
int virStorageVolTPMOpenToRead(const char *path,
                               const char *pool,
                               const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMOpenUnlocked:
 * @path, @pool, @vol: as for virStorageVolTPMOpen()
 *
 * As virStorageVolTPMOpen(), but takes no lock: for a volume that a guest uses, on this
 * host or on another one that is about to hand it over.
 *
 * Returns the descriptor (close-on-exec), or -1 with an error reported.
 */
int virStorageVolTPMOpenUnlocked(const char *path,
                                 const char *pool,
                                 const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
