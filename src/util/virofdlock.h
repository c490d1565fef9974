/*
 * virofdlock.h: open file description locks
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A lock that a child inherits with a descriptor, and that lasts until the last copy of
 * the descriptor is closed; and the name of the process that holds one.
 */

#pragma once

#include <sys/types.h>

#include "internal.h"

/**
 * virOFDLockNameRefersTo:
 * @fd: descriptor
 * @path: a name
 *
 * Returns whether @path refers to the file behind @fd. Without the lock of that file
 * this may change at any moment: see virOFDLockAcquireNamed().
 */
bool virOFDLockNameRefersTo(int fd,
                            const char *path)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockAcquire:
 * @fd: descriptor, open for writing
 *
 * Takes a write lock on the whole file, however long it becomes, without waiting. It
 * is held until the last descriptor of the open file description is closed, in
 * whichever process. What the file's name refers to is not known then: see
 * virOFDLockAcquireNamed().
 *
 * The caller must hold no POSIX lock on the file: they go when any descriptor
 * of it is closed.
 *
 * Returns 0 on success, -errno otherwise; -EAGAIN if someone else holds it,
 * -ENOSYS if the platform has no such locks.
 */
int virOFDLockAcquire(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockAcquireShared:
 * @fd: descriptor, open for reading
 *
 * As virOFDLockAcquire(), but takes a read lock, which several may hold.
 *
 * Returns as virOFDLockAcquire().
 */
int virOFDLockAcquireShared(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockAcquireFrom:
 * @fd: descriptor, open for writing
 * @start: offset in bytes
 *
 * As virOFDLockAcquire(), with a lock that begins at @start: other programs may have
 * locks of their own on the bytes before it.
 *
 * Returns 0 on success, -errno otherwise; -EAGAIN if someone else holds it,
 * -ENOSYS if the platform has no such locks.
 */
int virOFDLockAcquireFrom(int fd,
                          off_t start)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockMove:
 * @from: descriptor that has the lock of virOFDLockAcquire()
 * @to: another open file description of the same file, open for writing
 *
 * Moves the lock to @to. Nobody gets a lock on the whole file meanwhile, not even a read
 * lock.
 *
 * Returns 0 on success, -errno otherwise: the lock may be lost then, in part or whole.
 */
int virOFDLockMove(int from,
                   int to)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockMoveToProcess:
 * @fd: descriptor that has the lock of virOFDLockAcquire()
 *
 * Turns the lock into a POSIX lock of the calling process, as virOFDLockMove(). A program
 * that the process executes keeps it, and can take the same lock again.
 *
 * Returns as virOFDLockMove().
 */
int virOFDLockMoveToProcess(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockDivideWithProcess:
 * @fd: descriptor that has the lock of virOFDLockAcquire()
 *
 * Turns a part of the lock into a POSIX lock of the calling process, as virOFDLockMove(), so
 * that what the process writes to the file is written by an owner of the lock, whichever
 * descriptor it opens for that, as the user that @fd was opened by. If the server of a file
 * system gives the lock up, as that of NFS does when it has not heard of the host for long,
 * it refuses what its owners write.
 *
 * Whatever the process closes, the other part of the lock is held for as long as @fd is
 * open.
 *
 * Returns as virOFDLockMove().
 */
int virOFDLockDivideWithProcess(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockTest:
 * @fd: descriptor, open for reading
 * @start: offset in bytes
 *
 * Asks whether virOFDLockAcquireFrom() could take the lock right now, and takes none.
 *
 * Returns 0 if it could, -errno otherwise; -EAGAIN if someone else holds a lock,
 * -ENOSYS if the platform has no such locks.
 */
int virOFDLockTest(int fd,
                   off_t start)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockAcquireNamed:
 * @fd: descriptor, open for reading if @shared, else for writing
 * @path: the name that it was opened or made by
 * @shared: whether only to read: several may hold the lock then
 *
 * Takes a lock as virOFDLockAcquire() or virOFDLockAcquireShared() and verifies that
 * @path refers to the locked file: it may have been renamed, replaced or removed
 * before it was locked. Nobody who heeds the lock does that while it is held.
 *
 * Returns 0 on success, -errno otherwise: -EAGAIN if someone else holds the
 * lock, -ESTALE if it is held, but @path does not name the file any more,
 * -ENOSYS if the platform has no such locks.
 */
int virOFDLockAcquireNamed(int fd,
                           const char *path,
                           bool shared)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

typedef enum {
    VIR_OFD_LOCK_CREATE = 1 << 0,  /* make the file if it is missing, with mode 0600 */
    VIR_OFD_LOCK_NO_WAIT = 1 << 1, /* ask for the lock once */
    VIR_OFD_LOCK_READ = 1 << 2,    /* take a lock that several may hold */
} virOFDLockFlags;

/**
 * virOFDLockOpen:
 * @path: a regular file
 * @flags: bitwise-OR of virOFDLockFlags
 * @fd: -1; set to a descriptor of the file (close-on-exec)
 *
 * Opens a file for reading and writing by virFileOpenRegular() and takes its lock by
 * virOFDLockAcquireNamed(). A lock that is refused is asked for again for some 40 ms.
 * If it is refused @fd is open as well, to ask for its holder.
 *
 * Returns 0 on success, -errno otherwise: with @fd negative if the file cannot be
 * opened (-ENODEV if it is no regular one, -EBUSY if it is leased), else -EAGAIN if
 * someone else holds the lock or the file was replaced each time, or as
 * virOFDLockAcquireNamed().
 */
int virOFDLockOpen(const char *path,
                   unsigned int flags,
                   int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

typedef enum {
    VIR_OFD_LOCK_HOLDER_PROCESS,   /* a process of this host */
    VIR_OFD_LOCK_HOLDER_ELSEWHERE, /* no process of this host */
    VIR_OFD_LOCK_HOLDER_UNKNOWN,   /* the file system hides its locks, as every FUSE
                                           one does, or the time was up */
} virOFDLockHolder;

/**
 * virOFDLockFindHolder:
 * @fd: descriptor of a file whose lock was refused
 * @holder: set to text such as "process 4711 (swtpm)" if it is a process of
 *          this host, else to NULL
 *
 * Looks through /proc for a process that holds a lock on the file behind @fd, for
 * at most a second or so. Touches no file but those that have a lock on an inode
 * of the same number, so that no other file system is waited for. Meant for an
 * error message, and not for an event loop.
 *
 * Returns what is known of the holder.
 */
virOFDLockHolder virOFDLockFindHolder(int fd,
                                      char **holder)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virOFDLockDescribeHolder:
 * @fd: descriptor of a file whose lock was refused
 *
 * As virOFDLockFindHolder().
 *
 * Returns text such as "process 4711 (swtpm)", or NULL if no process of this
 * host is known to hold the lock.
 */
char *virOFDLockDescribeHolder(int fd)
    G_GNUC_WARN_UNUSED_RESULT;
