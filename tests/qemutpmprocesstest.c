/*
 * qemutpmprocesstest.c: which process is the swtpm of a domain
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process that has the lock of a pid file is found if it was told the socket, or is a
 * child of this process that is yet to be told; and no other one is.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testutils.h"

#include "qemu/qemu_tpm_process.h"
#include "vircommand.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

#ifdef __linux__

# define TEST_SOCKET "/run/swtpm/1-guest-swtpm.sock"

typedef struct _testProcess testProcess;
struct _testProcess {
    const char *argument; /* of the program that the process executes; NULL: none */
    bool found;
};


/* Becomes the process that has the lock, and tells so by @ready. */
static void G_NORETURN
testHold(const char *pidfile,
         const char *argument,
         int ready)
{
    const char *const args[] = { "sh", "-c", "echo; kill -STOP $$", "sh", argument, NULL };
    int fd = open(pidfile, O_RDWR);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

    if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0 || dup2(ready, STDOUT_FILENO) < 0)
        _exit(EXIT_FAILURE);

    if (argument)
        execv("/bin/sh", (char *const *) args);
    else
        ignore_value(safewrite(STDOUT_FILENO, "\n", 1));

    while (true)
        pause();
}


static int
testFind(const void *opaque)
{
    const testProcess *data = opaque;
    g_autofree char *pidfile = g_strdup("/tmp/libvirt_tpm_process_XXXXXX");
    VIR_AUTOCLOSE file = g_mkstemp(pidfile);
    int ready[2] = { -1, -1 };
    pid_t found = -1;
    pid_t child;
    char byte;
    int rc;

    if (file < 0 || virPipe(ready) < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0)
        testHold(pidfile, data->argument, ready[1]);

    VIR_FORCE_CLOSE(ready[1]);
    if (saferead(ready[0], &byte, 1) != 1)
        return -1;

    rc = qemuTPMProcessFind(pidfile, TEST_SOCKET, &found);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    VIR_FORCE_CLOSE(ready[0]);
    unlink(pidfile);

    if (data->found)
        return rc == 0 && found == child ? 0 : -1;

    return rc < 0 && found == -1 ? 0 : -1;
}


static int
testFindNobody(const void *opaque G_GNUC_UNUSED)
{
    g_autofree char *pidfile = g_strdup("/tmp/libvirt_tpm_process_XXXXXX");
    VIR_AUTOCLOSE file = g_mkstemp(pidfile);
    pid_t found;
    int rc;

    if (file < 0)
        return -1;

    rc = qemuTPMProcessFind(pidfile, TEST_SOCKET, &found);
    unlink(pidfile);
    return rc < 0 ? 0 : -1;
}


# define DO_FIND(name, ...) \
    do { \
        const testProcess data = { __VA_ARGS__ }; \
        if (virTestRun("find: " name, testFind, &data) < 0) \
            ret = -1; \
    } while (0)


static int
mymain(void)
{
    int ret = 0;

    DO_FIND("told the socket", .argument = "type=unixio,path=" TEST_SOCKET ",mode=0600", .found = true);
    DO_FIND("yet to be told", .found = true);
    DO_FIND("told another socket", .argument = "type=unixio,path=" TEST_SOCKET "2,mode=0600");
    DO_FIND("another program", .argument = TEST_SOCKET);
    if (virTestRun("find: nobody", testFindNobody, NULL) < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)

#else /* !__linux__ */

int
main(void)
{
    return EXIT_AM_SKIP;
}

#endif /* !__linux__ */
