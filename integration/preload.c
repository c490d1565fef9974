/*
 * preload.c: make calls of a daemon on the files of a pool fail, wait or take longer
 *
 * Built and preloaded by faults.py, which controls it by shared memory and describes its
 * layout. A call is counted if it is of a requested kind, and its file is below one of the
 * given folders or is a memfd. The call with the given number fails, or waits until it is
 * released. Kinds of calls can also be delayed.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#define _GNU_SOURCE
/* the functions below define what this would turn into others */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

/* In the order of faults.KINDS. */
enum kind {
    OPEN, WRITE, FSYNC, RENAME, LINK, UNLINK, LOCK, MEMFD, TRUNCATE, ALLOCATE, CHOWN, CHMOD,
    FORK, MKDIR, READ, STAT, KINDS
};

#define FOLDERS 3
#define CALLS 4096
#define FRAMES 12

struct call {
    uint32_t kind;
    uint32_t error;   /* what it was made to fail with */
    char name[16];
    char path[160];
    uint64_t frames[FRAMES];
};

struct control {
    _Atomic int32_t pid;           /* whose calls; 0: nobody's */
    _Atomic uint32_t counted;      /* kinds that are counted, one bit each */
    _Atomic uint32_t seen;         /* how many were counted */
    _Atomic uint32_t fail;         /* the number of the call that fails, from 1; 0: none */
    _Atomic uint32_t lasting;      /* later calls of the same name fail as well */
    _Atomic uint32_t stop;         /* the number of the call that waits; 0: none */
    _Atomic uint32_t stopped;      /* it does */
    _Atomic uint32_t go;           /* let it go */
    _Atomic uint32_t delayed;      /* kinds that are delayed, one bit each */
    _Atomic uint32_t delay;        /* microseconds */
    uint32_t errors[KINDS];        /* what calls of each kind fail with */
    char failed[16];               /* the name of the call that has failed */
    char folders[FOLDERS][160];
    struct call calls[CALLS];
};

static struct control *control;


static void __attribute__((constructor))
begin(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    void *frames[1];
    int fd;

    if (!path || strncmp(program_invocation_short_name, "virt", 4) != 0)
        return;

    /* not for what the daemon starts */
    unsetenv("LD_PRELOAD");
    /* loads what it needs now, not in the middle of a call */
    backtrace(frames, 1);

    if ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return;
    control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (control == MAP_FAILED)
        control = NULL;
}


static void *
real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* The next definition of the function that this is used in. */
#define REAL(name) \
    static __typeof__(&name) next; \
    if (!next) \
        next = real(#name)


static int
below_folder(const char *path)
{
    int i;

    for (i = 0; i < FOLDERS; i++) {
        size_t len = strlen(control->folders[i]);

        if (len > 0 && strncmp(path, control->folders[i], len) == 0 &&
            (path[len] == '\0' || path[len] == '/'))
            return 1;
    }

    return 0;
}


static int
is_wanted(enum kind kind, const char *path)
{
    return strncmp(path, "/memfd:tpm", 10) == 0 ||
        (kind == FORK || kind == MEMFD) || below_folder(path);
}


static void
resolve(const char *link, char *path)
{
    ssize_t len = readlink(link, path, PATH_MAX - 1);

    path[len < 0 ? 0 : len] = '\0';
}


/* What a call is about: a path, or else a descriptor. */
static void
find_path(int fd, const char *path, char *found)
{
    char link[64];

    if (!path) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        resolve(link, found);
    } else if (strncmp(path, "/proc/", 6) == 0) {
        resolve(path, found);
    } else {
        snprintf(found, PATH_MAX, "%s", path);
    }
}


static void
note(struct call *call, enum kind kind, const char *name, const char *path)
{
    void *frames[FRAMES + 3];
    int depth = backtrace(frames, FRAMES + 3);
    int i;

    memset(call, 0, sizeof(*call));
    call->kind = kind;
    snprintf(call->name, sizeof(call->name), "%s", name);
    snprintf(call->path, sizeof(call->path), "%.150s", path);
    for (i = 3; i < depth; i++)
        call->frames[i - 3] = (uintptr_t)frames[i];
}


static void
wait_until_let_go(void)
{
    int tries;

    control->stop = 0;
    control->stopped = 1;
    /* not for ever, should nobody be left who could */
    for (tries = 0; !control->go && tries < 600 * 1000; tries++)
        usleep(100);
    control->stopped = 0;
}


static int
must_fail(struct call *call, uint32_t number)
{
    uint32_t fail = control->fail;

    if (fail == 0 || number < fail)
        return 0;
    if (number == fail) {
        memcpy(control->failed, call->name, sizeof(call->name));
        return 1;
    }
    return control->lasting && strcmp(control->failed, call->name) == 0;
}


/* Before a call: returns 0, or the errno that it is to fail with. */
static int
before(enum kind kind, const char *name, int fd, const char *path)
{
    char found[PATH_MAX];
    uint32_t number;
    struct call *call;
    int saved = errno;

    if (!control || control->pid != getpid() ||
        !((control->counted | control->delayed) & (1u << kind)))
        return 0;

    find_path(fd, path, found);
    errno = saved;
    if (!is_wanted(kind, found))
        return 0;

    if (control->delayed & (1u << kind))
        usleep(control->delay);
    if (!(control->counted & (1u << kind))) {
        errno = saved;
        return 0;
    }

    number = atomic_fetch_add(&control->seen, 1) + 1;
    call = &control->calls[(number - 1) % CALLS];
    note(call, kind, name, found);

    if (control->stop == number)
        wait_until_let_go();
    errno = saved;

    if (!must_fail(call, number))
        return 0;
    call->error = control->errors[kind];
    return call->error;
}

#define BEFORE(kind, name, fd, path) \
    do { \
        int error = before(kind, name, fd, path); \
        if (error) { \
            errno = error; \
            return -1; \
        } \
    } while (0)


/* open() */

static mode_t
mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN_FUNCTION(name) \
    SHOWN int name(const char *path, int flags, ...) \
    { \
        va_list list; \
        mode_t mode; \
        REAL(name); \
        va_start(list, flags); \
        mode = mode_of(flags, list); \
        va_end(list); \
        BEFORE(OPEN, "open", -1, path); \
        return next(path, flags, mode); \
    }

OPEN_FUNCTION(open)
OPEN_FUNCTION(open64)

#define OPENAT_FUNCTION(name) \
    SHOWN int name(int dir, const char *path, int flags, ...) \
    { \
        va_list list; \
        mode_t mode; \
        REAL(name); \
        va_start(list, flags); \
        mode = mode_of(flags, list); \
        va_end(list); \
        BEFORE(OPEN, "openat", dir, *path == '/' ? path : NULL); \
        return next(dir, path, flags, mode); \
    }

OPENAT_FUNCTION(openat)
OPENAT_FUNCTION(openat64)

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

SHOWN int __open_2(const char *path, int flags)
{
    REAL(__open_2);
    BEFORE(OPEN, "open", -1, path);
    return next(path, flags);
}

SHOWN int __open64_2(const char *path, int flags)
{
    REAL(__open64_2);
    BEFORE(OPEN, "open", -1, path);
    return next(path, flags);
}

SHOWN int __openat_2(int dir, const char *path, int flags)
{
    REAL(__openat_2);
    BEFORE(OPEN, "openat", dir, *path == '/' ? path : NULL);
    return next(dir, path, flags);
}

SHOWN int __openat64_2(int dir, const char *path, int flags)
{
    REAL(__openat64_2);
    BEFORE(OPEN, "openat", dir, *path == '/' ? path : NULL);
    return next(dir, path, flags);
}


/* reading and writing */

SHOWN ssize_t
write(int fd, const void *data, size_t len)
{
    int error;
    REAL(write);

    if ((error = before(WRITE, "write", fd, NULL))) {
        /* a disk gets full in the middle */
        if (len > 1)
            (void)!next(fd, data, len / 2);
        errno = error;
        return -1;
    }
    return next(fd, data, len);
}

#define PWRITE_FUNCTION(name, type) \
    SHOWN ssize_t name(int fd, const void *data, size_t len, type offset) \
    { \
        REAL(name); \
        BEFORE(WRITE, "pwrite", fd, NULL); \
        return next(fd, data, len, offset); \
    }

PWRITE_FUNCTION(pwrite, off_t)
PWRITE_FUNCTION(pwrite64, off64_t)

SHOWN ssize_t
read(int fd, void *data, size_t len)
{
    REAL(read);
    BEFORE(READ, "read", fd, NULL);
    return next(fd, data, len);
}

#define PREAD_FUNCTION(name, type) \
    SHOWN ssize_t name(int fd, void *data, size_t len, type offset) \
    { \
        REAL(name); \
        BEFORE(READ, "pread", fd, NULL); \
        return next(fd, data, len, offset); \
    }

PREAD_FUNCTION(pread, off_t)
PREAD_FUNCTION(pread64, off64_t)


/* calls on a descriptor */

#define FD_FUNCTION(kind, name, type, parameters, arguments) \
    SHOWN type name parameters \
    { \
        REAL(name); \
        BEFORE(kind, #name, fd, NULL); \
        return next arguments; \
    }

FD_FUNCTION(FSYNC, fsync, int, (int fd), (fd))
FD_FUNCTION(FSYNC, fdatasync, int, (int fd), (fd))
FD_FUNCTION(TRUNCATE, ftruncate, int, (int fd, off_t len), (fd, len))
FD_FUNCTION(TRUNCATE, ftruncate64, int, (int fd, off64_t len), (fd, len))
FD_FUNCTION(CHOWN, fchown, int, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
FD_FUNCTION(CHMOD, fchmod, int, (int fd, mode_t mode), (fd, mode))
FD_FUNCTION(STAT, fstat, int, (int fd, struct stat *st), (fd, st))
FD_FUNCTION(STAT, fstat64, int, (int fd, struct stat64 *st), (fd, st))
FD_FUNCTION(ALLOCATE, fallocate, int, (int fd, int mode, off_t from, off_t len),
            (fd, mode, from, len))
FD_FUNCTION(ALLOCATE, fallocate64, int, (int fd, int mode, off64_t from, off64_t len),
            (fd, mode, from, len))

/* these return the error */
#define POSIX_FALLOCATE_FUNCTION(name, type) \
    SHOWN int name(int fd, type from, type len) \
    { \
        int error; \
        REAL(name); \
        if ((error = before(ALLOCATE, "posix_fallocate", fd, NULL))) \
            return error; \
        return next(fd, from, len); \
    }

POSIX_FALLOCATE_FUNCTION(posix_fallocate, off_t)
POSIX_FALLOCATE_FUNCTION(posix_fallocate64, off64_t)

static int
takes_lock(int command, const void *argument)
{
    return (command == F_SETLK || command == F_SETLKW ||
            command == F_OFD_SETLK || command == F_OFD_SETLKW) &&
        ((const struct flock *)argument)->l_type != F_UNLCK;
}

#define FCNTL_FUNCTION(name) \
    SHOWN int name(int fd, int command, ...) \
    { \
        va_list list; \
        void *argument; \
        REAL(name); \
        va_start(list, command); \
        argument = va_arg(list, void *); \
        va_end(list); \
        if (takes_lock(command, argument)) \
            BEFORE(LOCK, "fcntl", fd, NULL); \
        return next(fd, command, argument); \
    }

FCNTL_FUNCTION(fcntl)
FCNTL_FUNCTION(fcntl64)


/* calls on paths */

#define PATH_FUNCTION(kind, name, path, parameters, arguments) \
    SHOWN int name parameters \
    { \
        REAL(name); \
        BEFORE(kind, #name, -1, path); \
        return next arguments; \
    }

#define PATH_AT_FUNCTION(kind, name, path, parameters, arguments) \
    SHOWN int name parameters \
    { \
        REAL(name); \
        BEFORE(kind, #name, dir, *path == '/' ? path : NULL); \
        return next arguments; \
    }

PATH_FUNCTION(RENAME, rename, from, (const char *from, const char *to), (from, to))
PATH_AT_FUNCTION(RENAME, renameat, from,
                 (int dir, const char *from, int todir, const char *to),
                 (dir, from, todir, to))
PATH_AT_FUNCTION(RENAME, renameat2, from,
                 (int dir, const char *from, int todir, const char *to, unsigned int flags),
                 (dir, from, todir, to, flags))
/* what gets another name may be a descriptor's file */
PATH_FUNCTION(LINK, link, to, (const char *from, const char *to), (from, to))
SHOWN int
linkat(int dir, const char *from, int todir, const char *to, int flags)
{
    REAL(linkat);
    BEFORE(LINK, "linkat", todir, *to == '/' ? to : NULL);
    return next(dir, from, todir, to, flags);
}
PATH_FUNCTION(UNLINK, unlink, path, (const char *path), (path))
PATH_AT_FUNCTION(UNLINK, unlinkat, path, (int dir, const char *path, int flags),
                 (dir, path, flags))
PATH_FUNCTION(CHOWN, chown, path, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
PATH_AT_FUNCTION(CHOWN, fchownat, path,
                 (int dir, const char *path, uid_t uid, gid_t gid, int flags),
                 (dir, path, uid, gid, flags))
PATH_FUNCTION(CHMOD, chmod, path, (const char *path, mode_t mode), (path, mode))
PATH_FUNCTION(MKDIR, mkdir, path, (const char *path, mode_t mode), (path, mode))
PATH_FUNCTION(STAT, stat, path, (const char *path, struct stat *st), (path, st))
PATH_FUNCTION(STAT, stat64, path, (const char *path, struct stat64 *st), (path, st))
PATH_FUNCTION(STAT, lstat, path, (const char *path, struct stat *st), (path, st))
PATH_FUNCTION(STAT, lstat64, path, (const char *path, struct stat64 *st), (path, st))


/* calls on nothing */

SHOWN int
memfd_create(const char *name, unsigned int flags)
{
    REAL(memfd_create);
    BEFORE(MEMFD, "memfd_create", -1, name);
    return next(name, flags);
}

SHOWN pid_t
fork(void)
{
    REAL(fork);
    BEFORE(FORK, "fork", -1, "");
    return next();
}
