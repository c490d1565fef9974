/*
 * storage_tpm_child.c: run a program as the user of swtpm
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * swtpm_setup and libvirt_tpmhelper are run without capabilities, in a process group
 * of their own. If one of them fails, or does not end in time, whatever it has
 * started is ended as well.
 */

#include <config.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage_tpm_bytes.h"
#include "storage_tpm_child.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Interval at which a child is checked, in microseconds. */
#define VIR_STORAGE_TPM_CHILD_PAUSE (2 * 1000)


int
virStorageTPMChildUser(uid_t *uid,
                       gid_t *gid)
{
    *uid = -1;
    *gid = -1;

    if (geteuid() != 0)
        return 0;

    if (virGetUserID(SWTPM_USER, uid) < 0 ||
        virGetGroupID(SWTPM_GROUP, gid) < 0) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("user '%1$s', who owns swtpm's local CA, not found: install swtpm's tools"),
                       SWTPM_USER);
        return -1;
    }

    return 0;
}


/* What a program has written to memory. */
static char *
virStorageTPMChildReadOutput(int fd)
{
    g_autoptr(virStorageTPMBytes) said = virStorageTPMBytesRead(fd, "output");

    if (!said)
        return NULL;

    return said->len > 0 ? g_strndup((const char *)said->data, said->len) : g_strdup("");
}


/* In the child: it and what it runs can be ended together. */
static int
virStorageTPMChildMakeGroup(void *opaque G_GNUC_UNUSED)
{
    return setpgid(0, 0);
}


/* Waits until a child has ended, but does not reap it, so that its process group
 * stays its own. Returns 1 if it has succeeded, 0 if not, -1 if it has not ended in
 * time. */
static int
virStorageTPMChildWait(pid_t pid,
                       unsigned int seconds)
{
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    do {
        siginfo_t info = { 0 };

        if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            return 0;

        if (info.si_pid == pid)
            return info.si_code == CLD_EXITED && info.si_status == 0;

        g_usleep(VIR_STORAGE_TPM_CHILD_PAUSE);
    } while (g_get_monotonic_time() < end);

    return -1;
}


/* Returns 1 if it has ended, 0 if it had to be ended, -1 with an error reported. */
static int
virStorageTPMChildRunGroup(virCommand *cmd,
                           unsigned int seconds,
                           int *status)
{
    pid_t pid;
    int rc;

    virCommandSetPreExecHook(cmd, virStorageTPMChildMakeGroup, NULL);

    if (virCommandRunAsync(cmd, &pid) < 0)
        return -1;

    if ((rc = virStorageTPMChildWait(pid, seconds)) <= 0)
        ignore_value(kill(-pid, SIGKILL));

    if (virCommandWait(cmd, status) < 0 && rc >= 0)
        return -1;

    return rc >= 0;
}


/* It writes to memory, not to a pipe: should this process be killed, that would kill
 * it when it writes next, and its swtpm would run on for ever. */
int
virStorageTPMChildRun(virCommand *cmd,
                      uid_t uid,
                      gid_t gid,
                      unsigned int seconds,
                      char **output,
                      char **errors,
                      int *status)
{
    VIR_AUTOCLOSE outfd = virStorageTPMBytesToMemory(NULL);
    VIR_AUTOCLOSE errfd = virStorageTPMBytesToMemory(NULL);
    int rc;

    if (outfd < 0 || errfd < 0)
        return -1;

    virCommandSetUID(cmd, uid);
    virCommandSetGID(cmd, gid);
    virCommandClearCaps(cmd);
    virCommandSetOutputFD(cmd, &outfd);
    virCommandSetErrorFD(cmd, &errfd);
    virCommandDoAsyncIO(cmd); /* which hands over the passphrase */

    if ((rc = virStorageTPMChildRunGroup(cmd, seconds, status)) <= 0) {
        /* an error of virCommandWait() does not count if it was ended from here */
        if (rc == 0)
            virResetLastError();
        return rc;
    }

    if (!(*output = virStorageTPMChildReadOutput(outfd)) ||
        !(*errors = virStorageTPMChildReadOutput(errfd)))
        return -1;

    return 1;
}
