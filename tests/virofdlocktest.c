/*
 * virofdlocktest.c: open file description locks
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who gets one, who is said to hold it, and whether the file that is locked is the one that
 * has the name.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testutils.h"

#include "vircommand.h"
#include "virfile.h"
#include "virofdlock.h"
#include "virstring.h"

#ifdef F_OFD_SETLK

/* A byte in the last part of a lock that is divided. */
# define TEST_LOCK_FAR (16 * 1024 * 1024 * 1024LL)

/* In place of the C library's own. */

/* The file system is one that hides its locks. */
static bool testHiding;

/* How often descriptors of other files were looked at than of the one that is
 * locked. */
static ino_t testLocked;
static size_t testStrangers;


int
fstatfs(int fd,
        struct statfs *sb)
{
    int rc = syscall(SYS_fstatfs, fd, sb);

    if (rc == 0 && testHiding)
        sb->f_type = 0x65735546;

    return rc;
}


int
stat(const char *path,
     struct stat *sb)
{
    int rc = fstatat(AT_FDCWD, path, sb, 0);

    if (rc == 0 && STRPREFIX(path, "/proc/") && strstr(path, "/fd/") &&
        sb->st_ino != testLocked)
        testStrangers++;

    return rc;
}


typedef struct _testLockData testLockData;
struct _testLockData {
    const char *dir;
    const char *path; /* a file in it */
};


/* Returns a descriptor with the lock, or -1. */
static int
testOpen(const char *path)
{
    VIR_AUTOCLOSE fd = -1;
    int ret;

    if (virOFDLockOpen(path, 0, &fd) < 0)
        return -1;

    ret = fd;
    fd = -1;
    return ret;
}


static int
testExpectBusy(const char *path,
               pid_t holder)
{
    g_autofree char *procfile = g_strdup_printf("/proc/%lld/comm", (long long)holder);
    g_autofree char *name = NULL;
    g_autofree char *expect = NULL;
    g_autofree char *found = NULL;
    VIR_AUTOCLOSE fd = -1;

    if (virOFDLockOpen(path, 0, &fd) != -EAGAIN) {
        VIR_TEST_VERBOSE("the file was not locked");
        return -1;
    }

    found = virOFDLockDescribeHolder(fd);

    if (virFileReadAll(procfile, 64, &name) < 0)
        return -1;

    virStringTrimOptionalNewline(name);
    expect = g_strdup_printf("process %lld (%s)", (long long)holder, name);
    if (STREQ_NULLABLE(found, expect))
        return 0;

    virTestDifference(stderr, expect, NULLSTR(found));
    return -1;
}


static int
testLockTwice(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE first = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);
    VIR_AUTOCLOSE second = -1;

    if (first < 0 || other < 0)
        return -1;

    if (virOFDLockAcquire(other) != -EAGAIN ||
        testExpectBusy(data->path, getpid()) < 0)
        return -1;

    /* unlike a lock of the process, this one outlives the other descriptor */
    VIR_FORCE_CLOSE(other);
    if (testExpectBusy(data->path, getpid()) < 0)
        return -1;

    VIR_FORCE_CLOSE(first);
    if ((second = testOpen(data->path)) < 0)
        return -1;

    return fcntl(second, F_GETFD) & FD_CLOEXEC ? 0 : -1;
}


static int
testLockShared(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE first = open(data->path, O_RDONLY | O_CLOEXEC);
    VIR_AUTOCLOSE second = open(data->path, O_RDONLY | O_CLOEXEC);
    VIR_AUTOCLOSE writer = open(data->path, O_RDWR | O_CLOEXEC);

    if (virOFDLockAcquireShared(first) < 0 || virOFDLockAcquireShared(second) < 0)
        return -1;

    VIR_FORCE_CLOSE(first);
    if (virOFDLockAcquire(writer) != -EAGAIN ||
        testExpectBusy(data->path, getpid()) < 0)
        return -1;

    VIR_FORCE_CLOSE(second);
    if (virOFDLockAcquire(writer) < 0 ||
        (first = open(data->path, O_RDONLY | O_CLOEXEC)) < 0 ||
        virOFDLockAcquireShared(first) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(writer);
    return virOFDLockAcquireShared(first);
}


/* Asks for a read lock again and again, and ends well if none was given until it is
 * killed. */
static void G_NORETURN
testLockReadForever(const char *path)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);

    while (virOFDLockAcquireShared(fd) == -EAGAIN) {}

    _exit(EXIT_FAILURE);
}


/* A lock that moves to and fro is never free, and is where it was moved to last. */
static int
testLockMoved(const void *opaque)
{
    const testLockData *data = opaque;
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC / 2;
    VIR_AUTOCLOSE first = testOpen(data->path);
    VIR_AUTOCLOSE second = open(data->path, O_RDWR | O_CLOEXEC);
    pid_t child;
    int rc = 0;

    if (first < 0 || second < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        VIR_FORCE_CLOSE(first);
        VIR_FORCE_CLOSE(second);
        testLockReadForever(data->path);
    }

    while (rc == 0 && g_get_monotonic_time() < end) {
        if ((rc = virOFDLockMove(first, second)) == 0)
            rc = virOFDLockMove(second, first);
    }

    if (waitpid(child, NULL, WNOHANG) != 0)
        return -1;

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    if (rc < 0 || virOFDLockMove(first, second) < 0 ||
        virOFDLockAcquireShared(first) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(second);
    return virOFDLockAcquireShared(first);
}


/* Whether the lock on the byte at @start is a POSIX one of this process. */
static bool
testLockIsOfProcess(int fd,
                    off_t start)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type == F_WRLCK && fl.l_pid == getpid();
}


static int
testLockMovedToProcess(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);

    if (fd < 0 || other < 0 || virOFDLockMoveToProcess(fd) < 0)
        return -1;

    if (!testLockIsOfProcess(other, 0) || !testLockIsOfProcess(other, TEST_LOCK_FAR) ||
        virFileLock(fd, false, 0, 0, false) < 0)
        return -1;

    /* as every lock of a process it goes with any descriptor */
    VIR_FORCE_CLOSE(fd);
    return virOFDLockAcquire(other);
}


static int
testLockDividedWithProcess(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);
    VIR_AUTOCLOSE reader = open(data->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || other < 0 || virOFDLockDivideWithProcess(fd) < 0 ||
        testLockIsOfProcess(reader, 0) || !testLockIsOfProcess(reader, TEST_LOCK_FAR) ||
        virOFDLockAcquireShared(reader) != -EAGAIN)
        return -1;

    /* the part of the process goes with any descriptor, and nobody gets the whole */
    VIR_FORCE_CLOSE(other);
    if (testLockIsOfProcess(reader, TEST_LOCK_FAR) ||
        virOFDLockAcquireShared(reader) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(fd);
    return virOFDLockAcquireShared(reader);
}


static int
testLockSharedNothing(const void *opaque G_GNUC_UNUSED)
{
    return virOFDLockAcquireShared(-1) == -EBADF ? 0 : -1;
}


/* The lock and the one of a process keep each other out. */
static int
testLockPOSIX(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE mine = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);
    pid_t child;
    int rc;

    if (mine < 0 || other < 0 ||
        virFileLock(other, false, 0, 0, false) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(mine);

    if ((child = virFork()) < 0)
        return -1;

    if (child == 0) {
        if (virFileLock(other, false, 0, 0, false) < 0)
            _exit(EXIT_FAILURE);

        while (true)
            raise(SIGSTOP);
    }

    waitpid(child, NULL, WUNTRACED);
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    return rc;
}


static int
testLockInherited(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    VIR_AUTOCLOSE after = -1;
    pid_t child;
    int rc;

    if (fd < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        while (true)
            pause();
    }

    VIR_FORCE_CLOSE(fd);
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    if (rc < 0 || (after = testOpen(data->path)) < 0)
        return -1;

    return 0;
}


/* A file system that does not answer is asked about no descriptor: only those are
 * looked at that have a lock. The child has many others. */
static int
testLockStrangers(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    struct stat sb;
    pid_t child;
    int rc;

    if (fd < 0 || fstat(fd, &sb) < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        while (true)
            pause();
    }

    VIR_FORCE_CLOSE(fd);
    testLocked = sb.st_ino;
    testStrangers = 0;
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    if (testStrangers == 0)
        return rc;

    VIR_TEST_VERBOSE("looked at %zu descriptors of other files", testStrangers);
    return -1;
}


/* Where the locks of a file system are not shown, nobody is said to hold one. */
static int
testLockHidden(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *holder = NULL;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    virOFDLockHolder found;

    if (fd < 0)
        return -1;

    testHiding = true;
    found = virOFDLockFindHolder(fd, &holder);
    testHiding = false;

    return found == VIR_OFD_LOCK_HOLDER_UNKNOWN && !holder ? 0 : -1;
}


/* What is replaced or removed before its lock is taken is not that file any more. */
static int
testLockAt(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/at", data->dir);
    VIR_AUTOCLOSE fd = -1;
    VIR_AUTOCLOSE second = -1;
    VIR_AUTOCLOSE reader = -1;

    if (virOFDLockOpen(path, 0, &fd) != -ENOENT ||
        virOFDLockOpen(path, VIR_OFD_LOCK_CREATE, &fd) < 0 ||
        virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &second) != -EAGAIN ||
        (reader = open(path, O_RDONLY | O_CLOEXEC)) < 0 ||
        virOFDLockAcquireNamed(reader, path, true) != -EAGAIN)
        return -1;

    if (unlink(path) < 0 || virOFDLockAcquireNamed(fd, path, false) != -ESTALE ||
        virFileWriteStr(path, "another", 0600) < 0 ||
        virOFDLockAcquireNamed(fd, path, false) != -ESTALE)
        return -1;

    VIR_FORCE_CLOSE(fd);
    if (virOFDLockAcquireNamed(second, data->path, false) != -ESTALE ||
        virOFDLockAcquireNamed(reader, path, true) != -EAGAIN)
        return -1;

    return unlink(path);
}


/* Whether the lock is had while a child still keeps it for 25 ms, as long as a file
 * system in user space may take to release one. */
static int
testLockWhileKept(const char *path)
{
    VIR_AUTOCLOSE fd = testOpen(path);
    VIR_AUTOCLOSE after = -1;
    pid_t child;

    if (fd < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        g_usleep(25 * 1000);
        _exit(EXIT_SUCCESS);
    }

    VIR_FORCE_CLOSE(fd);
    after = testOpen(path);
    waitpid(child, NULL, 0);

    return after < 0 ? -1 : 0;
}


/* A lock that goes away at once does not make a start fail. On a busy machine
 * "at once" may be late. */
static int
testLockBrief(const void *opaque)
{
    const testLockData *data = opaque;
    size_t i;

    for (i = 0; i < 20; i++) {
        if (testLockWhileKept(data->path) == 0)
            return 0;
    }

    return -1;
}


/* Replaces the file again and again, each time under its lock, and without
 * the waits of virOFDLockOpen(). */
static void G_NORETURN
testReplaceForever(const testLockData *data)
{
    g_autofree char *new = g_strdup_printf("%s/new", data->dir);

    while (true) {
        VIR_AUTOCLOSE fd = open(data->path, O_RDWR | O_CLOEXEC);

        if (fd < 0 || virFileWriteStr(new, "", 0600) < 0)
            _exit(EXIT_FAILURE);

        if (virOFDLockAcquire(fd) == 0 && rename(new, data->path) < 0)
            _exit(EXIT_FAILURE);
    }
}


/* Whoever has the lock has the file that the path names. */
static int
testLockReplaced(const void *opaque)
{
    const testLockData *data = opaque;
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC / 2;
    pid_t child = virFork();
    size_t opened = 0;
    size_t stale = 0;

    if (child < 0)
        return -1;

    if (child == 0)
        testReplaceForever(data);

    while (g_get_monotonic_time() < end) {
        VIR_AUTOCLOSE fd = testOpen(data->path);
        struct stat mine;
        struct stat named;

        if (fd < 0)
            continue;

        opened++;
        if (fstat(fd, &mine) < 0 || stat(data->path, &named) < 0 ||
            mine.st_ino != named.st_ino)
            stale++;
    }

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    VIR_TEST_DEBUG("opened %zu, of them stale %zu", opened, stale);
    return opened > 0 && stale == 0 ? 0 : -1;
}


# define DO_LOCK(name, func) \
    do { \
        if (virTestRun("lock: " name, func, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testLockAll(void)
{
    char template[] = abs_builddir "/virofdlocktest-XXXXXX";
    const char *dir = g_mkdtemp(template);
    g_autofree char *path = g_strdup_printf("%s/file", template);
    const testLockData data = { dir, path };
    int ret = 0;

    if (!dir || virFileWriteStr(path, "content", 0600) < 0)
        return -1;

    DO_LOCK("taken once", testLockTwice);
    DO_LOCK("of readers and writers", testLockShared);
    DO_LOCK("of nothing", testLockSharedNothing);
    DO_LOCK("that moves", testLockMoved);
    DO_LOCK("that becomes the process's", testLockMovedToProcess);
    DO_LOCK("a part of which becomes the process's", testLockDividedWithProcess);
    DO_LOCK("keeps out POSIX locks", testLockPOSIX);
    DO_LOCK("inherited", testLockInherited);
    DO_LOCK("no other files are looked at", testLockStrangers);
    DO_LOCK("on a file system that hides it", testLockHidden);
    DO_LOCK("of a name", testLockAt);
    DO_LOCK("held briefly", testLockBrief);
    DO_LOCK("replaced file", testLockReplaced);

    virFileDeleteTree(dir);
    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testLockAll() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)

#else /* ! F_OFD_SETLK */

int
main(void)
{
    return EXIT_AM_SKIP;
}

#endif /* ! F_OFD_SETLK */
