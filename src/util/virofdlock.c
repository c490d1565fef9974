/*
 * virofdlock.c: open file description locks
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A lock of this kind belongs to an open file description, not to a process: it
 * lasts until the last descriptor of it is closed, in whichever process that is. So
 * it can be handed to a child with the descriptor, lives exactly as long as the child
 * and survives the daemon that took it.
 *
 * A lock is on the inode that was opened. Whoever relies on a name takes the lock
 * first and then verifies that the name still refers to the locked inode; as long as
 * everybody renames, replaces and removes files only under their lock, that stays so.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#ifdef __linux__
# include <sys/vfs.h>
#endif
#include <unistd.h>

#include "virfile.h"
#include "virfileopen.h"
#include "virofdlock.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NONE

/* A lock that is refused is asked for again a few times, after a pause in microseconds:
 * a process that this daemon is just starting has its descriptors, and so its locks,
 * until it executes its program. */
#define VIR_OFD_LOCK_TRIES 5
#define VIR_OFD_LOCK_WAIT (10 * 1000)

/* How long the holder of a lock is searched for, in microseconds. */
#define VIR_OFD_LOCK_HOLDER_TIME (1000 * 1000)

/* Where a lock is divided that passes to another owner, an offset in bytes. */
#define VIR_OFD_LOCK_DIVISION (1024 * 1024 * 1024)

/* What f_type of statfs() is for every file system in user space: the kernel
 * does not know the locks that its server has granted. */
#define VIR_OFD_LOCK_FUSE_SUPER_MAGIC 0x65735546

typedef enum {
    VIR_OFD_LOCK_NONE,
    VIR_OFD_LOCK_SHARED,
    VIR_OFD_LOCK_EXCLUSIVE,
} virOFDLockType;

typedef enum {
    VIR_OFD_LOCK_OF_DESCRIPTION,
    VIR_OFD_LOCK_OF_PROCESS, /* a POSIX lock */
} virOFDLockOwner;


#ifndef WIN32

bool
virOFDLockNameRefersTo(int fd,
                       const char *path)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 &&
           lstat(path, &named) == 0 &&
           opened.st_nlink > 0 &&
           virFileIsSameInode(&opened, &named);
}

#else /* WIN32 */

bool
virOFDLockNameRefersTo(int fd G_GNUC_UNUSED,
                       const char *path G_GNUC_UNUSED)
{
    return false;
}

#endif /* WIN32 */


#ifdef F_OFD_SETLK
/* Has fcntl() set or test a lock from @start to the end of the file. Returns 0 with the
 * kind of lock that is told in @type, -errno otherwise. */
static int
virOFDLockControl(int fd,
                  int cmd,
                  short *type,
                  off_t start)
{
    struct flock fl = {
        .l_type = *type,
        .l_whence = SEEK_SET,
        .l_start = start,
    };

    if (fcntl(fd, cmd, &fl) < 0)
        return errno == EACCES ? -EAGAIN : -errno;

    *type = fl.l_type;
    return 0;
}
#endif /* F_OFD_SETLK */


/* Sets a lock from @start to the end of the file, or gives it up. */
static int
virOFDLockSet(int fd G_GNUC_UNUSED,
              virOFDLockOwner owner G_GNUC_UNUSED,
              virOFDLockType type G_GNUC_UNUSED,
              off_t start G_GNUC_UNUSED)
{
#ifdef F_OFD_SETLK
    const int cmds[] = { F_OFD_SETLK, F_SETLK };
    const short types[] = { F_UNLCK, F_RDLCK, F_WRLCK };
    short set = types[type];

    return virOFDLockControl(fd, cmds[owner], &set, start);
#else /* ! F_OFD_SETLK */
    return -ENOSYS;
#endif /* ! F_OFD_SETLK */
}


int
virOFDLockAcquire(int fd)
{
    return virOFDLockSet(fd, VIR_OFD_LOCK_OF_DESCRIPTION, VIR_OFD_LOCK_EXCLUSIVE, 0);
}


int
virOFDLockAcquireShared(int fd)
{
    return virOFDLockSet(fd, VIR_OFD_LOCK_OF_DESCRIPTION, VIR_OFD_LOCK_SHARED, 0);
}


int
virOFDLockAcquireFrom(int fd,
                      off_t start)
{
    return virOFDLockSet(fd, VIR_OFD_LOCK_OF_DESCRIPTION, VIR_OFD_LOCK_EXCLUSIVE, start);
}


/* Passes a write lock of @from from @start on to the owner of that kind by @to. */
static int
virOFDLockPass(int from,
               int to,
               virOFDLockOwner owner,
               off_t start)
{
    int rc = virOFDLockSet(from, VIR_OFD_LOCK_OF_DESCRIPTION, VIR_OFD_LOCK_NONE, start);

    return rc < 0 ? rc : virOFDLockSet(to, owner, VIR_OFD_LOCK_EXCLUSIVE, start);
}


/* The second part is passed first: whoever has either keeps everybody else from the whole. */
static int
virOFDLockPassAll(int from,
                  int to,
                  virOFDLockOwner owner)
{
    int rc = virOFDLockPass(from, to, owner, VIR_OFD_LOCK_DIVISION);

    return rc < 0 ? rc : virOFDLockPass(from, to, owner, 0);
}


int
virOFDLockMove(int from,
               int to)
{
    return virOFDLockPassAll(from, to, VIR_OFD_LOCK_OF_DESCRIPTION);
}


int
virOFDLockMoveToProcess(int fd)
{
    return virOFDLockPassAll(fd, fd, VIR_OFD_LOCK_OF_PROCESS);
}


int
virOFDLockDivideWithProcess(int fd)
{
    return virOFDLockPass(fd, fd, VIR_OFD_LOCK_OF_PROCESS, VIR_OFD_LOCK_DIVISION);
}


int
virOFDLockTest(int fd G_GNUC_UNUSED,
               off_t start G_GNUC_UNUSED)
{
#ifdef F_OFD_SETLK
    short type = F_WRLCK;
    int rc = virOFDLockControl(fd, F_OFD_GETLK, &type, start);

    if (rc < 0)
        return rc;

    return type == F_UNLCK ? 0 : -EAGAIN;
#else /* ! F_OFD_SETLK */
    return -ENOSYS;
#endif /* ! F_OFD_SETLK */
}


int
virOFDLockAcquireNamed(int fd,
                       const char *path,
                       bool shared)
{
    int rc = shared ? virOFDLockAcquireShared(fd) : virOFDLockAcquire(fd);

    if (rc < 0)
        return rc;

    virFileRevalidateDir(path);
    return virOFDLockNameRefersTo(fd, path) ? 0 : -ESTALE;
}


int
virOFDLockOpen(const char *path,
               unsigned int flags,
               int *fd)
{
    const size_t tries = flags & VIR_OFD_LOCK_NO_WAIT ? 1 : VIR_OFD_LOCK_TRIES;
    const int oflags = O_RDWR | (flags & VIR_OFD_LOCK_CREATE ? O_CREAT : 0);
    struct stat sb;
    size_t i;

    for (i = 0; i < tries; i++) {
        int rc;

        if (i > 0)
            g_usleep(VIR_OFD_LOCK_WAIT);

        VIR_FORCE_CLOSE(*fd);
        if ((*fd = virFileOpenRegular(path, oflags, &sb)) < 0)
            return -errno;

        rc = virOFDLockAcquireNamed(*fd, path, flags & VIR_OFD_LOCK_READ);

        /* stale: it was replaced or deleted before it was locked */
        if (rc != -EAGAIN && rc != -ESTALE)
            return rc;
    }

    return -EAGAIN;
}


/* Whether a line of /proc/PID/fdinfo/FD tells of a lock on the inode @ino, as in
 * "lock:   1: OFDLCK  ADVISORY  WRITE -1 00:1c:4711 0 EOF". */
static bool
virOFDLockIsLockLine(const char *line,
                     unsigned long long ino)
{
    g_auto(GStrv) words = NULL;
    const char *number;
    unsigned long long found;
    size_t i;

    if (!STRPREFIX(line, "lock:") ||
        !(strstr(line, " OFDLCK ") || strstr(line, " POSIX ")))
        return false;

    words = g_strsplit_set(line, " \t", 0);

    for (i = 0; words[i]; i++) {
        /* MAJOR:MINOR:INODE, where the device is not that of stat() on every
         * file system */
        if ((number = strrchr(words[i], ':')) && strchr(words[i], ':') != number &&
            virStrToLong_ullp(number + 1, NULL, 10, &found) == 0)
            return found == ino;
    }

    return false;
}


/* An open file description shows its locks in /proc/PID/fdinfo/FD, also those
 * that were inherited, for which the kernel itself knows no process. */
static bool
virOFDLockFdHasLock(pid_t pid,
                    const char *fd,
                    unsigned long long ino)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/fdinfo/%s",
                                            (long long)pid, fd);
    g_autofree char *info = NULL;
    g_auto(GStrv) lines = NULL;
    size_t i;

    if (virFileReadAllQuiet(path, 64 * 1024, &info) < 0)
        return false;

    lines = g_strsplit(info, "\n", 0);

    for (i = 0; lines[i]; i++) {
        if (virOFDLockIsLockLine(lines[i], ino))
            return true;
    }

    return false;
}


/* A descriptor is looked at itself only if it has a lock on an inode of that
 * number: stat() of any other one may never return, where the server of its file
 * system does not answer. */
static bool
virOFDLockProcessHasLock(pid_t pid,
                         const struct stat *st,
                         gint64 until)
{
    g_autofree char *fds = g_strdup_printf("/proc/%lld/fdinfo", (long long)pid);
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    if (virDirOpenQuiet(&dir, fds) < 0)
        return false;

    while (virDirRead(dir, &entry, NULL) > 0 && g_get_monotonic_time() < until) {
        g_autofree char *path = NULL;
        struct stat fdst;

        if (!virOFDLockFdHasLock(pid, entry->d_name, st->st_ino))
            continue;

        path = g_strdup_printf("/proc/%lld/fd/%s", (long long)pid, entry->d_name);

        if (stat(path, &fdst) == 0 && virFileIsSameInode(&fdst, st))
            return true;
    }

    return false;
}


static char *
virOFDLockDescribeProcess(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/comm", (long long)pid);
    g_autofree char *name = NULL;

    if (virFileReadAllQuiet(path, 64, &name) < 0)
        return g_strdup_printf(_("process %1$lld"), (long long)pid);

    virStringTrimOptionalNewline(name);
    virStringStripControlChars(name);

    return g_strdup_printf(_("process %1$lld (%2$s)"), (long long)pid, name);
}


/* Whether the locks on a file are shown in /proc by the host that holds them. */
static bool
virOFDLockIsShown(int fd G_GNUC_UNUSED)
{
#ifdef __linux__
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type != VIR_OFD_LOCK_FUSE_SUPER_MAGIC;
#else /* !__linux__ */
    return false;
#endif /* !__linux__ */
}


static virOFDLockHolder
virOFDLockFindHolderOnce(const struct stat *st,
                         gint64 until,
                         char **holder)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    if (virDirOpenQuiet(&dir, "/proc") < 0)
        return VIR_OFD_LOCK_HOLDER_UNKNOWN;

    while (virDirRead(dir, &entry, NULL) > 0) {
        long long number;

        if (virStrToLong_ll(entry->d_name, NULL, 10, &number) == 0 &&
            virOFDLockProcessHasLock(number, st, until)) {
            *holder = virOFDLockDescribeProcess(number);
            return VIR_OFD_LOCK_HOLDER_PROCESS;
        }

        if (g_get_monotonic_time() >= until)
            return VIR_OFD_LOCK_HOLDER_UNKNOWN;
    }

    return VIR_OFD_LOCK_HOLDER_ELSEWHERE;
}


virOFDLockHolder
virOFDLockFindHolder(int fd,
                     char **holder)
{
    const gint64 until = g_get_monotonic_time() + VIR_OFD_LOCK_HOLDER_TIME;
    virOFDLockHolder owner = VIR_OFD_LOCK_HOLDER_ELSEWHERE;
    struct stat st;
    size_t i;

    *holder = NULL;

    if (!virOFDLockIsShown(fd) || fstat(fd, &st) < 0)
        return VIR_OFD_LOCK_HOLDER_UNKNOWN;

    /* a process that forks meanwhile hands the lock to one that was not there yet */
    for (i = 0; i < 2 && owner == VIR_OFD_LOCK_HOLDER_ELSEWHERE; i++)
        owner = virOFDLockFindHolderOnce(&st, until, holder);

    return owner;
}


char *
virOFDLockDescribeHolder(int fd)
{
    char *holder;

    ignore_value(virOFDLockFindHolder(fd, &holder));
    return holder;
}
