/*
 * testutilsstoragetpmwindow.c: what others do meanwhile to a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fcntl(), renameat2() and unlink() of the C library are replaced, so that something else
 * happens to the pool right before or after them.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "testutilsstoragetpmwindow.h"

#include "storage/storage_tpm_sidecar.h"


testWindowState testWindow;


static void
testWindowRunOnce(testWindowKind kind)
{
    int saved = errno;

    if (testWindow.kind != kind || testWindow.skip-- > 0)
        return;

    testWindow.kind = TEST_WINDOW_NONE;
    testWindow.passed = true;
    testWindow.func();
    errno = saved;
}


void
testWindowOpen(testWindowKind kind,
               size_t skip,
               void (*func)(void),
               virStoragePoolDef *pool,
               const virStorageVolDef *vol)
{
    testWindow.kind = kind;
    testWindow.skip = skip;
    testWindow.func = func;
    testWindow.pool = pool;
    testWindow.vol = vol;
    testWindow.passed = false;
}


bool
testWindowClose(void)
{
    testWindow.kind = TEST_WINDOW_NONE;
    g_clear_pointer(&testWindow.temp, virStorageTPMTempFree);
    return testWindow.passed;
}


/* In place of the C library's own. */

int
fcntl(int fd,
      int cmd,
      ...)
{
    va_list args;
    void *arg;

    va_start(args, cmd);
    arg = va_arg(args, void *);
    va_end(args);

    if (cmd == F_OFD_SETLK)
        testWindowRunOnce(TEST_WINDOW_BEFORE_LOCK);

    return syscall(SYS_fcntl, fd, cmd, arg);
}


int
renameat2(int fromdir,
          const char *from,
          int todir,
          const char *to,
          unsigned int flags)
{
    testWindowRunOnce(TEST_WINDOW_BEFORE_RENAME_NEW);
    return syscall(SYS_renameat2, fromdir, from, todir, to, flags);
}


int
unlink(const char *path)
{
    int rc = syscall(SYS_unlinkat, AT_FDCWD, path, 0);

    testWindowRunOnce(TEST_WINDOW_AFTER_UNLINK);
    return rc;
}


void
testWindowPlace(void)
{
    testWindow.temp = virStorageTPMSidecarPlace(testWindow.pool, testWindow.vol);
}
