/*
 * tpmhelper_swtpm.c: run swtpm on a copy of a TPM's state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state is a file in memory. swtpm is told what to do over two sockets: its
 * control channel, see swtpm_ioctls(3), and the data channel, which takes commands
 * of the TPM. Nobody waits for ever for a swtpm that hangs.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage_tpm_bytes.h"
#include "tpmhelper_swtpm.h"
#include "vircommand.h"
#include "virendian.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpmstate.h"
#define LIBVIRT_TPMHELPER_SWTPMPRIV_H_ALLOW
#include "tpmhelper_swtpmpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Commands of the control channel, see swtpm_ioctls(3). All numbers on it are
 * 32 bits long and big-endian, but the flags of CMD_GET_INFO have 64. */
enum {
    VIR_TPM_HELPER_SWTPM_CMD_INIT = 2,
    VIR_TPM_HELPER_SWTPM_CMD_SHUTDOWN = 3,
    VIR_TPM_HELPER_SWTPM_CMD_GET_STATEBLOB = 12,
    VIR_TPM_HELPER_SWTPM_CMD_SET_STATEBLOB = 13,
    VIR_TPM_HELPER_SWTPM_CMD_GET_INFO = 18,
};

#define VIR_TPM_HELPER_SWTPM_BLOB_PERMANENT 1
#define VIR_TPM_HELPER_SWTPM_BLOB_DECRYPTED 1

/* TPMLIB_INFO_ACTIVE_PROFILE of TPMLIB_GetInfo(3), and more than it ever tells. */
#define VIR_TPM_HELPER_SWTPM_INFO_PROFILE 0x20
#define VIR_TPM_HELPER_SWTPM_INFO_MAX (64 * 1024)

/* Interval at which a child is checked, in microseconds. */
#define VIR_TPM_HELPER_SWTPM_PAUSE (2 * 1000)

struct _virTPMHelperSwtpm {
    virCommand *cmd;
    pid_t pid;
    char *path;  /* of the state */
    bool named;  /* it is a name in a directory, which is removed once swtpm has opened it */
    int state;   /* the state, in memory */
    int control;
    int data;
    unsigned int timeout;
    virTPMHelperSwtpmFailure failure;
    const char *failed; /* the command that has failed */
};


/* swtpm has opened its state, or will not: the file no longer needs a name, and goes
 * with the last process that has it open. */
static void
virTPMHelperSwtpmDropName(virTPMHelperSwtpm *swtpm)
{
    if (swtpm->named)
        ignore_value(unlink(swtpm->path));
    swtpm->named = false;
}


void
virTPMHelperSwtpmFree(virTPMHelperSwtpm *swtpm)
{
    if (!swtpm)
        return;

    VIR_FORCE_CLOSE(swtpm->control);
    VIR_FORCE_CLOSE(swtpm->data);
    virCommandAbort(swtpm->cmd);
    virCommandFree(swtpm->cmd);
    VIR_FORCE_CLOSE(swtpm->state);
    virTPMHelperSwtpmDropName(swtpm);
    g_free(swtpm->path);
    g_free(swtpm);
}


virTPMHelperSwtpmFailure
virTPMHelperSwtpmGetFailure(const virTPMHelperSwtpm *swtpm,
                            const char **command)
{
    *command = swtpm->failed;
    return swtpm->failure;
}


/*
 * $ swtpm socket --tpm2 --terminate --fd DATA --ctrl type=unixio,clientfd=CONTROL \
 *     --tpmstate backend-uri=file://STATE \
 *     --key pwdfd=FD,mode=aes-256-cbc
 *
 * With --terminate swtpm ends when the other end of DATA is closed, also if this
 * process is killed.
 */
virCommand *
virTPMHelperSwtpmBuildCommand(const virTPMHelperSwtpmSpec *spec,
                              int data,
                              int control,
                              const char *state)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(spec->binary, "socket", NULL);

    if (spec->tpm2)
        virCommandAddArg(cmd, "--tpm2");

    virCommandAddArgList(cmd, "--terminate", "--fd", NULL);
    virCommandAddArgFormat(cmd, "%d", data);
    virCommandAddArg(cmd, "--ctrl");
    virCommandAddArgFormat(cmd, "type=unixio,clientfd=%d", control);
    virCommandAddArg(cmd, "--tpmstate");
    virCommandAddArgFormat(cmd, "backend-uri=file://%s", state);

    if (spec->key >= 0) {
        virCommandAddArg(cmd, "--key");
        virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", spec->key);
    }

    return g_steal_pointer(&cmd);
}


/* A pair of sockets, of which ours is not waited for longer than @timeout. */
static int
virTPMHelperSwtpmSocketPair(unsigned int seconds,
                            int *ours,
                            int *theirs)
{
    struct timeval timeout = { .tv_sec = seconds };
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        virReportSystemError(errno, "%s", _("cannot create sockets for swtpm"));
        return -1;
    }
    *ours = fds[0];
    *theirs = fds[1];

    if (setsockopt(*ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(*ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0) {
        virReportSystemError(errno, "%s", _("cannot set up sockets for swtpm"));
        return -1;
    }

    return 0;
}


/* Makes the file that swtpm has its state in. swtpm opens it by a name, and its
 * newer versions follow no link: it is in the directory that was given, on a tmpfs.
 * Where there is none, the file has no name, for the state must not get on a disk;
 * then its name is a link of /proc. */
static int
virTPMHelperSwtpmMakeState(virTPMHelperSwtpm *swtpm,
                           const char *dir,
                           const virStorageTPMBytes *bytes)
{
    if (!dir) {
        if ((swtpm->state = virStorageTPMBytesToMemory(bytes)) < 0)
            return -1;

        swtpm->path = g_strdup_printf("/proc/self/fd/%d", swtpm->state);
        return 0;
    }

    swtpm->path = g_strdup_printf("%s/state", dir);

    if ((swtpm->state = open(swtpm->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                             0600)) >= 0)
        swtpm->named = true;

    if (swtpm->state < 0 ||
        (bytes && safewrite(swtpm->state, bytes->data, bytes->len) < 0)) {
        virReportSystemError(errno, _("cannot create '%1$s' for the state of a TPM"),
                             swtpm->path);
        return -1;
    }

    return 0;
}


static int
virTPMHelperSwtpmRun(virTPMHelperSwtpm *swtpm,
                     const virTPMHelperSwtpmSpec *spec,
                     const virStorageTPMBytes *bytes)
{
    VIR_AUTOCLOSE control = -1;
    VIR_AUTOCLOSE data = -1;
    int err = STDERR_FILENO;

    if (virTPMHelperSwtpmMakeState(swtpm, spec->dir, bytes) < 0 ||
        virTPMHelperSwtpmSocketPair(spec->timeout, &swtpm->control, &control) < 0 ||
        virTPMHelperSwtpmSocketPair(spec->timeout, &swtpm->data, &data) < 0)
        return -1;

    swtpm->cmd = virTPMHelperSwtpmBuildCommand(spec, data, control, swtpm->path);
    if (!spec->dir)
        virCommandPassFD(swtpm->cmd, swtpm->state, 0);
    if (spec->key >= 0)
        virCommandPassFD(swtpm->cmd, spec->key, 0);
    virCommandPassFD(swtpm->cmd, control, 0);
    virCommandPassFD(swtpm->cmd, data, 0);
    virCommandSetErrorFD(swtpm->cmd, &err);

    return virCommandRunAsync(swtpm->cmd, &swtpm->pid);
}


virTPMHelperSwtpm *
virTPMHelperSwtpmNew(const virTPMHelperSwtpmSpec *spec,
                     const virStorageTPMBytes *bytes)
{
    g_autoptr(virTPMHelperSwtpm) swtpm = g_new0(virTPMHelperSwtpm, 1);

    swtpm->timeout = spec->timeout;
    swtpm->control = -1;
    swtpm->data = -1;
    swtpm->state = -1;

    if (virTPMHelperSwtpmRun(swtpm, spec, bytes) < 0)
        return NULL;

    return g_steal_pointer(&swtpm);
}


/* Whether swtpm ends before @until. It is not reaped, which is done when it is freed. */
static bool
virTPMHelperSwtpmHasEnded(virTPMHelperSwtpm *swtpm,
                          gint64 until)
{
    do {
        siginfo_t info = { 0 };

        if (waitid(P_PID, swtpm->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            info.si_pid == swtpm->pid)
            return true;

        g_usleep(VIR_TPM_HELPER_SWTPM_PAUSE);
    } while (g_get_monotonic_time() < until);

    return false;
}


/* Waits for the end of a swtpm that nobody talks to any more: it closes its end of
 * the control channel then, unless it hangs. One that has not ended in time is
 * killed when @swtpm is freed. */
static void
virTPMHelperSwtpmEnd(virTPMHelperSwtpm *swtpm)
{
    const gint64 wait = swtpm->timeout * G_USEC_PER_SEC;
    const gint64 until = g_get_monotonic_time() + wait;
    uint8_t rest[1024];
    ssize_t got;

    VIR_FORCE_CLOSE(swtpm->data);
    ignore_value(shutdown(swtpm->control, SHUT_WR));

    do {
        got = saferead(swtpm->control, rest, sizeof(rest));
    } while (got > 0 && g_get_monotonic_time() < until);

    if (got > 0 || (got < 0 && errno == EAGAIN) ||
        !virTPMHelperSwtpmHasEnded(swtpm, g_get_monotonic_time() + wait))
        swtpm->failure = VIR_TPM_HELPER_SWTPM_HANGS;
}


/* A command was not done. Why is told by swtpm, once it has ended. */
static void
virTPMHelperSwtpmFail(virTPMHelperSwtpm *swtpm,
                      const char *command)
{
    swtpm->failed = command;

    if (swtpm->failure != VIR_TPM_HELPER_SWTPM_HANGS)
        virTPMHelperSwtpmEnd(swtpm);

    if (swtpm->failure != VIR_TPM_HELPER_SWTPM_HANGS)
        swtpm->failure = VIR_TPM_HELPER_SWTPM_REFUSED;
}


/* Reads what has to come. */
static int
virTPMHelperSwtpmRead(virTPMHelperSwtpm *swtpm,
                      uint8_t *data,
                      size_t len)
{
    ssize_t got = saferead(swtpm->control, data, len);

    if (got < 0 && errno == EAGAIN)
        swtpm->failure = VIR_TPM_HELPER_SWTPM_HANGS;

    return got == len ? 0 : -1;
}


/* Sends numbers, and bytes behind them. */
static int
virTPMHelperSwtpmSend(virTPMHelperSwtpm *swtpm,
                      const uint32_t *numbers,
                      size_t nnumbers,
                      const virStorageTPMBytes *bytes)
{
    uint8_t head[20];
    size_t i;

    for (i = 0; i < nnumbers; i++) {
        uint32_t be = GUINT32_TO_BE(numbers[i]);

        memcpy(head + i * sizeof(be), &be, sizeof(be));
    }

    if (safewrite(swtpm->control, head, nnumbers * sizeof(uint32_t)) < 0 ||
        (bytes && safewrite(swtpm->control, bytes->data, bytes->len) < 0))
        return -1;

    return 0;
}


static int
virTPMHelperSwtpmReceive(virTPMHelperSwtpm *swtpm,
                         uint32_t *numbers,
                         size_t nnumbers)
{
    uint8_t head[16];
    size_t len = nnumbers * sizeof(uint32_t);
    size_t i;

    if (virTPMHelperSwtpmRead(swtpm, head, len) < 0)
        return -1;

    for (i = 0; i < nnumbers; i++)
        numbers[i] = virReadBufInt32BE(head + i * sizeof(uint32_t));

    return 0;
}


/* A command that is answered by no more than whether it was done. */
static int
virTPMHelperSwtpmRequest(virTPMHelperSwtpm *swtpm,
                         const char *name,
                         const uint32_t *numbers,
                         size_t nnumbers,
                         const virStorageTPMBytes *bytes)
{
    uint32_t result;

    if (virTPMHelperSwtpmSend(swtpm, numbers, nnumbers, bytes) == 0 &&
        virTPMHelperSwtpmReceive(swtpm, &result, 1) == 0 &&
        result == 0)
        return 0;

    virTPMHelperSwtpmFail(swtpm, name);
    return -1;
}


int
virTPMHelperSwtpmInit(virTPMHelperSwtpm *swtpm)
{
    const uint32_t command[] = { VIR_TPM_HELPER_SWTPM_CMD_INIT, 0 };

    if (virTPMHelperSwtpmRequest(swtpm, "CMD_INIT", command, G_N_ELEMENTS(command), NULL) < 0)
        return -1;

    virTPMHelperSwtpmDropName(swtpm);
    return 0;
}


/* Appends a part of the state; it comes in as many as swtpm likes. Sets @total
 * to the length of the whole. */
static int
virTPMHelperSwtpmGetPart(virTPMHelperSwtpm *swtpm,
                         virStorageTPMBytes *blob,
                         size_t *total)
{
    const uint32_t command[] = {
        VIR_TPM_HELPER_SWTPM_CMD_GET_STATEBLOB,
        VIR_TPM_HELPER_SWTPM_BLOB_DECRYPTED,
        VIR_TPM_HELPER_SWTPM_BLOB_PERMANENT,
        blob->len,
    };
    uint32_t response[3]; /* flags, total length, length of this part */
    uint32_t result;

    /* an error may have no more than the result */
    if (virTPMHelperSwtpmSend(swtpm, command, G_N_ELEMENTS(command), NULL) < 0 ||
        virTPMHelperSwtpmReceive(swtpm, &result, 1) < 0 ||
        result != 0 ||
        virTPMHelperSwtpmReceive(swtpm, response, G_N_ELEMENTS(response)) < 0 ||
        response[1] > VIR_TPM_STATE_MAX_SIZE ||
        response[2] == 0 ||
        response[2] > response[1] - blob->len)
        return -1;

    /* not realloc(), which leaves what it moves */
    if (!blob->data)
        blob->data = g_new0(uint8_t, response[1]);
    else if (response[1] != *total)
        return -1;

    /* also what a read that fails has brought is erased */
    blob->len += response[2];
    *total = response[1];
    return virTPMHelperSwtpmRead(swtpm, blob->data + blob->len - response[2], response[2]);
}


virStorageTPMBytes *
virTPMHelperSwtpmGetPermanent(virTPMHelperSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) blob = g_new0(virStorageTPMBytes, 1);
    size_t total = 0;

    do {
        if (virTPMHelperSwtpmGetPart(swtpm, blob, &total) < 0) {
            virTPMHelperSwtpmFail(swtpm, "CMD_GET_STATEBLOB");
            return NULL;
        }
    } while (blob->len < total);

    return g_steal_pointer(&blob);
}


int
virTPMHelperSwtpmSetPermanent(virTPMHelperSwtpm *swtpm,
                              const virStorageTPMBytes *blob)
{
    const uint32_t command[] = {
        VIR_TPM_HELPER_SWTPM_CMD_SET_STATEBLOB,
        0, /* it is not encrypted */
        VIR_TPM_HELPER_SWTPM_BLOB_PERMANENT,
        blob->len,
    };

    return virTPMHelperSwtpmRequest(swtpm, "CMD_SET_STATEBLOB",
                                    command, G_N_ELEMENTS(command), blob);
}


int
virTPMHelperSwtpmGetProfile(virTPMHelperSwtpm *swtpm,
                            char **json)
{
    const uint32_t command[] = {
        VIR_TPM_HELPER_SWTPM_CMD_GET_INFO,
        0, VIR_TPM_HELPER_SWTPM_INFO_PROFILE, /* flags */
        0, /* offset */
        0, /* padding */
    };
    g_autofree char *told = NULL;
    uint32_t response[2]; /* total length, length of this part */
    uint32_t result;

    if (virTPMHelperSwtpmSend(swtpm, command, G_N_ELEMENTS(command), NULL) < 0 ||
        virTPMHelperSwtpmReceive(swtpm, &result, 1) < 0) {
        virTPMHelperSwtpmFail(swtpm, "CMD_GET_INFO");
        return -1;
    }

    if (result != 0)
        return 0;

    if (virTPMHelperSwtpmReceive(swtpm, response, G_N_ELEMENTS(response)) < 0 ||
        response[1] > VIR_TPM_HELPER_SWTPM_INFO_MAX) {
        virTPMHelperSwtpmFail(swtpm, "CMD_GET_INFO");
        return -1;
    }

    told = g_new0(char, response[1] + 1);
    if (virTPMHelperSwtpmRead(swtpm, (uint8_t *)told, response[1]) < 0) {
        virTPMHelperSwtpmFail(swtpm, "CMD_GET_INFO");
        return -1;
    }

    if (response[0] == response[1])
        *json = g_steal_pointer(&told);
    return 0;
}


ssize_t
virTPMHelperSwtpmTransmit(virTPMHelperSwtpm *swtpm,
                          const uint8_t *command,
                          size_t len,
                          uint8_t *response,
                          size_t size)
{
    ssize_t got;

    errno = 0;

    /* swtpm sends a response at once */
    if (safewrite(swtpm->data, command, len) < 0 ||
        (got = recv(swtpm->data, response, size, 0)) <= 0) {
        if (errno == EAGAIN)
            swtpm->failure = VIR_TPM_HELPER_SWTPM_HANGS;
        virTPMHelperSwtpmFail(swtpm, "a TPM command");
        return -1;
    }

    return got;
}


virStorageTPMBytes *
virTPMHelperSwtpmFinish(virTPMHelperSwtpm *swtpm)
{
    const uint32_t command[] = { VIR_TPM_HELPER_SWTPM_CMD_SHUTDOWN };

    if (virTPMHelperSwtpmRequest(swtpm, "CMD_SHUTDOWN",
                                 command, G_N_ELEMENTS(command), NULL) < 0)
        return NULL;

    virTPMHelperSwtpmEnd(swtpm);

    if (swtpm->failure == VIR_TPM_HELPER_SWTPM_HANGS) {
        virTPMHelperSwtpmFail(swtpm, "CMD_SHUTDOWN");
        return NULL;
    }

    return virStorageTPMBytesRead(swtpm->state, "swtpm");
}
