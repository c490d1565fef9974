/*
 * virfileopen.h: open files that somebody else may have put there
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For files in a directory that is shared with other hosts or programs: what stands
 * under a name may be a link, a FIFO or a device, may be leased, or may be known only from
 * a cache. None of these functions waits for what another process does for longer than
 * they say, and none reports an error.
 */

#pragma once

#include <sys/stat.h>

#include "internal.h"

/**
 * virFileIsSameInode:
 * @a, @b: what stat() tells
 *
 * Returns whether both are about one file or directory, whatever its names are.
 */
bool virFileIsSameInode(const struct stat *a,
                        const struct stat *b)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virFileOpenNoWait:
 * @path: a file
 * @oflags: as for open(); O_NONBLOCK, O_NOCTTY and O_CLOEXEC are added
 *
 * Opens a file without waiting for the other end of a FIFO. Where it is made, it
 * gets mode 0600. While another process has a lease on the file, or a client of
 * this host's NFS server a delegation, the kernel refuses and asks for it back:
 * then it is tried again for up to a second.
 *
 * Returns the descriptor, or -1 with errno set; EBUSY if the lease was not given
 * back in that time, and never EAGAIN, by which a lock is refused.
 */
int virFileOpenNoWait(const char *path,
                      int oflags)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virFileOpenRegular:
 * @path: a file
 * @oflags: as for virFileOpenNoWait(); O_NOFOLLOW is added
 * @sb: filled in on success
 *
 * Opens a regular file, and does not follow a symbolic link.
 *
 * Returns the descriptor, or -1 with errno set as by virFileOpenNoWait(); ENODEV
 * if the file is not a regular one.
 */
int virFileOpenRegular(const char *path,
                       int oflags,
                       struct stat *sb)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virFileRevalidateDir:
 * @path: path of a file
 *
 * Opens the file's directory once: a network file system then asks its server
 * about the names in it, where it would believe for some seconds what it knew
 * before (close-to-open consistency, see nfs(5)).
 */
void virFileRevalidateDir(const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * virFileIsNotRegularErrno:
 * @err: an errno of virFileOpenRegular()
 *
 * Returns whether it says that the file is there, but is a symbolic link or no regular
 * file.
 */
bool virFileIsNotRegularErrno(int err)
    G_GNUC_WARN_UNUSED_RESULT;
