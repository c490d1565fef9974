/*
 * virfileopen.c: open files that somebody else may have put there
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * open() follows links, waits at a FIFO, and is refused while the file is leased; a
 * network file system answers it from a cache. Each of these is dealt with here.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "virfile.h"
#include "virfileopen.h"

#define VIR_FROM_THIS VIR_FROM_NONE

/* How long a lease is waited for, and how often it is asked for, in microseconds. */
#define VIR_FILE_OPEN_LEASE_TIME (1000 * 1000)
#define VIR_FILE_OPEN_LEASE_WAIT (5 * 1000)


bool
virFileIsSameInode(const struct stat *a,
                   const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}


bool
virFileIsNotRegularErrno(int err)
{
    return err == ELOOP || err == EISDIR || err == ENXIO || err == ENODEV;
}


#ifndef WIN32

int
virFileOpenNoWait(const char *path,
                  int oflags)
{
    const gint64 until = g_get_monotonic_time() + VIR_FILE_OPEN_LEASE_TIME;
    int fd;

    oflags |= O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

    while ((fd = open(path, oflags, 0600)) < 0 && errno == EWOULDBLOCK) {
        if (g_get_monotonic_time() >= until) {
            errno = EBUSY;
            return -1;
        }

        g_usleep(VIR_FILE_OPEN_LEASE_WAIT);
    }

    return fd;
}


int
virFileOpenRegular(const char *path,
                   int oflags,
                   struct stat *sb)
{
    VIR_AUTOCLOSE fd = virFileOpenNoWait(path, oflags | O_NOFOLLOW);
    int ret;

    if (fd < 0 || fstat(fd, sb) < 0)
        return -1;

    if (!S_ISREG(sb->st_mode)) {
        errno = ENODEV;
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


void
virFileRevalidateDir(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

#else /* WIN32 */

int
virFileOpenNoWait(const char *path G_GNUC_UNUSED,
                  int oflags G_GNUC_UNUSED)
{
    errno = ENOSYS;
    return -1;
}


int
virFileOpenRegular(const char *path,
                   int oflags,
                   struct stat *sb G_GNUC_UNUSED)
{
    return virFileOpenNoWait(path, oflags);
}


void
virFileRevalidateDir(const char *path G_GNUC_UNUSED)
{
}

#endif /* WIN32 */
