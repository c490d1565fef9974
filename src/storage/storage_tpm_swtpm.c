/*
 * storage_tpm_swtpm.c: run swtpm on a copy of a volume's state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage_tpm_bytes.h"
#include "storage_tpm_scratch.h"
#include "storage_tpm_setup.h"
#include "storage_tpm_swtpm.h"
#include "storage_vol_tpm.h"
#include "viralloc.h"
#include "vircommand.h"
#include "virendian.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virtpmstate.h"
#define LIBVIRT_STORAGE_TPM_SWTPMPRIV_H_ALLOW
#include "storage_tpm_swtpmpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_swtpm");

/* Commands of the control channel, see swtpm_ioctls(3). All numbers on it are
 * 32 bits long and big-endian. */
enum {
    VIR_STORAGE_TPM_SWTPM_CMD_INIT = 2,
    VIR_STORAGE_TPM_SWTPM_CMD_SHUTDOWN = 3,
    VIR_STORAGE_TPM_SWTPM_CMD_GET_STATEBLOB = 12,
    VIR_STORAGE_TPM_SWTPM_CMD_SET_STATEBLOB = 13,
};

#define VIR_STORAGE_TPM_SWTPM_BLOB_PERMANENT 1
#define VIR_STORAGE_TPM_SWTPM_BLOB_DECRYPTED 1

/* In seconds: long enough for a machine that is very busy. */
unsigned int virStorageTPMSwtpmTimeout = 60;

struct _virStorageTPMSwtpm {
    char *pool;
    char *vol;
    virCommand *cmd;
    pid_t pid;
    virStorageTPMScratch *scratch; /* directory of the state's file; NULL once swtpm has
                                      opened it */
    char *path;  /* of the state */
    int state;   /* the state, in memory */
    int control;
    int data;
    bool hangs;  /* it did not answer or end in time */
    char *log;   /* filled in when the process has ended */
};


void
virStorageTPMSwtpmFree(virStorageTPMSwtpm *swtpm)
{
    if (!swtpm)
        return;

    VIR_FORCE_CLOSE(swtpm->control);
    VIR_FORCE_CLOSE(swtpm->data);
    virCommandAbort(swtpm->cmd);
    virCommandFree(swtpm->cmd);
    VIR_FORCE_CLOSE(swtpm->state);
    virStorageTPMScratchFree(swtpm->scratch);
    g_free(swtpm->path);
    g_free(swtpm->pool);
    g_free(swtpm->vol);
    g_free(swtpm->log);
    g_free(swtpm);
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
virStorageTPMSwtpmBuildCommand(const virStorageTPMSwtpmSpec *spec,
                               const char *binary,
                               int data,
                               int control,
                               const char *state)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(binary, "socket", NULL);
    int fd;

    if (spec->version == VIR_DOMAIN_TPM_VERSION_2_0)
        virCommandAddArg(cmd, "--tpm2");

    virCommandAddArgList(cmd, "--terminate", "--fd", NULL);
    virCommandAddArgFormat(cmd, "%d", data);
    virCommandAddArg(cmd, "--ctrl");
    virCommandAddArgFormat(cmd, "type=unixio,clientfd=%d", control);
    virCommandAddArg(cmd, "--tpmstate");
    virCommandAddArgFormat(cmd, "backend-uri=file://%s", state);

    if (!spec->secret)
        return g_steal_pointer(&cmd);

    if ((fd = virTPMSecretAddFD(cmd, spec->secret, spec->pool, spec->vol, NULL)) < 0)
        return NULL;

    virCommandAddArg(cmd, "--key");
    virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", fd);
    return g_steal_pointer(&cmd);
}


/* A pair of sockets. Nobody waits for ever for a swtpm that hangs. */
static int
virStorageTPMSwtpmSocketPair(int *ours,
                             int *theirs)
{
    struct timeval timeout = { .tv_sec = virStorageTPMSwtpmTimeout };
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
 * newer versions follow no link: it is in a directory that only swtpm's user may
 * enter, on a tmpfs. Where the run directory is on no tmpfs, the file has no name,
 * for the state must not get on a disk; then its name is a link of /proc. */
static int
virStorageTPMSwtpmMakeState(virStorageTPMSwtpm *swtpm,
                            const virStorageTPMBytes *bytes,
                            uid_t uid,
                            gid_t gid)
{
    const char *rundir = virStorageTPMScratchRunDir();

    if (!rundir) {
        if ((swtpm->state = virStorageTPMBytesToMemory(bytes)) < 0)
            return -1;

        swtpm->path = g_strdup_printf("/proc/self/fd/%d", swtpm->state);
        return 0;
    }

    if (!(swtpm->scratch = virStorageTPMScratchNew(rundir, VIR_STORAGE_TPM_SCRATCH_STATE,
                                                   uid, gid)))
        return -1;
    swtpm->path = g_strdup_printf("%s/state", swtpm->scratch);

    if ((swtpm->state = open(swtpm->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                             0600)) < 0 ||
        (uid != (uid_t)-1 && fchown(swtpm->state, uid, gid) < 0) ||
        (bytes && safewrite(swtpm->state, bytes->data, bytes->len) < 0)) {
        virReportSystemError(errno, _("cannot create '%1$s' for the state of TPM volume '%2$s' of pool '%3$s'"),
                             swtpm->path, swtpm->vol, swtpm->pool);
        return -1;
    }

    return 0;
}


/* swtpm has opened its state: the file no longer needs a name, and goes with the
 * last process that has it open. */
static void
virStorageTPMSwtpmDropName(virStorageTPMSwtpm *swtpm)
{
    g_clear_pointer(&swtpm->scratch, virStorageTPMScratchFree);
}


static int
virStorageTPMSwtpmRun(virStorageTPMSwtpm *swtpm,
                      const virStorageTPMSwtpmSpec *spec,
                      const virStorageTPMBytes *bytes,
                      const char *binary)
{
    VIR_AUTOCLOSE control = -1;
    VIR_AUTOCLOSE data = -1;
    uid_t uid;
    gid_t gid;

    if (virStorageTPMSetupUser(&uid, &gid) < 0 ||
        virStorageTPMSwtpmMakeState(swtpm, bytes, uid, gid) < 0 ||
        virStorageTPMSwtpmSocketPair(&swtpm->control, &control) < 0 ||
        virStorageTPMSwtpmSocketPair(&swtpm->data, &data) < 0 ||
        !(swtpm->cmd = virStorageTPMSwtpmBuildCommand(spec, binary, data, control,
                                                      swtpm->path)))
        return -1;

    if (!swtpm->scratch)
        virCommandPassFD(swtpm->cmd, swtpm->state, 0);
    virCommandPassFD(swtpm->cmd, control, 0);
    virCommandPassFD(swtpm->cmd, data, 0);
    virCommandSetUID(swtpm->cmd, uid);
    virCommandSetGID(swtpm->cmd, gid);
    virCommandClearCaps(swtpm->cmd);
    virCommandSetErrorBuffer(swtpm->cmd, &swtpm->log);
    virCommandDoAsyncIO(swtpm->cmd);

    return virCommandRunAsync(swtpm->cmd, &swtpm->pid);
}


virStorageTPMSwtpm *
virStorageTPMSwtpmNew(const virStorageTPMSwtpmSpec *spec,
                      const virStorageTPMBytes *bytes)
{
    g_autofree char *binary = virTPMGetSwtpm();
    g_autoptr(virStorageTPMSwtpm) swtpm = g_new0(virStorageTPMSwtpm, 1);

    swtpm->pool = g_strdup(spec->pool);
    swtpm->vol = g_strdup(spec->vol);
    swtpm->control = -1;
    swtpm->data = -1;
    swtpm->state = -1;

    if (!binary || virStorageTPMSwtpmRun(swtpm, spec, bytes, binary) < 0)
        return NULL;

    return g_steal_pointer(&swtpm);
}


/* Waits for the end of a swtpm that nobody talks to any more: it closes its end of
 * the control channel then, unless it hangs. One that has not ended in time is
 * killed when @swtpm is freed. */
static void
virStorageTPMSwtpmEnd(virStorageTPMSwtpm *swtpm)
{
    const gint64 until = g_get_monotonic_time() + virStorageTPMSwtpmTimeout * G_USEC_PER_SEC;
    uint8_t rest[1024];
    ssize_t got;
    int status;

    VIR_FORCE_CLOSE(swtpm->data);
    ignore_value(shutdown(swtpm->control, SHUT_WR));

    do {
        got = saferead(swtpm->control, rest, sizeof(rest));
    } while (got > 0 && g_get_monotonic_time() < until);

    swtpm->hangs = got > 0 || (got < 0 && errno == EAGAIN) ||
        virStorageTPMSetupWaitChild(swtpm->pid, virStorageTPMSwtpmTimeout) < 0;

    if (!swtpm->hangs && virCommandWait(swtpm->cmd, &status) < 0)
        VIR_WARN("swtpm of TPM volume '%s' has ended badly: %s",
                 swtpm->vol, virGetLastErrorMessage());
}


/* Reports why a command was not done: by what swtpm has said, once it has ended. */
static void
virStorageTPMSwtpmReport(virStorageTPMSwtpm *swtpm,
                         const char *command)
{
    if (!swtpm->hangs)
        virStorageTPMSwtpmEnd(swtpm);

    if (swtpm->hangs) {
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("swtpm for TPM volume '%1$s' of pool '%2$s' did not answer %3$s within %4$u seconds"),
                       swtpm->vol, swtpm->pool, command, virStorageTPMSwtpmTimeout);
        return;
    }

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("swtpm did not execute %1$s"), command);
    virStorageVolTPMReportSwtpm(NULLSTR_EMPTY(swtpm->log), swtpm->pool, swtpm->vol);
}


/* Reads what has to come. */
static int
virStorageTPMSwtpmRead(virStorageTPMSwtpm *swtpm,
                       uint8_t *data,
                       size_t len)
{
    ssize_t got = saferead(swtpm->control, data, len);

    swtpm->hangs = got < 0 && errno == EAGAIN;
    return got == len ? 0 : -1;
}


/* Sends numbers, and bytes behind them. */
static int
virStorageTPMSwtpmSend(virStorageTPMSwtpm *swtpm,
                       const uint32_t *numbers,
                       size_t nnumbers,
                       const virStorageTPMBytes *bytes)
{
    uint8_t head[16];
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
virStorageTPMSwtpmReceive(virStorageTPMSwtpm *swtpm,
                          uint32_t *numbers,
                          size_t nnumbers)
{
    uint8_t head[16];
    size_t len = nnumbers * sizeof(uint32_t);
    size_t i;

    if (virStorageTPMSwtpmRead(swtpm, head, len) < 0)
        return -1;

    for (i = 0; i < nnumbers; i++)
        numbers[i] = virReadBufInt32BE(head + i * sizeof(uint32_t));

    return 0;
}


/* A command that is answered by no more than whether it was done. */
static int
virStorageTPMSwtpmRequest(virStorageTPMSwtpm *swtpm,
                          const char *name,
                          const uint32_t *numbers,
                          size_t nnumbers,
                          const virStorageTPMBytes *bytes)
{
    uint32_t result;

    if (virStorageTPMSwtpmSend(swtpm, numbers, nnumbers, bytes) == 0 &&
        virStorageTPMSwtpmReceive(swtpm, &result, 1) == 0 &&
        result == 0)
        return 0;

    virStorageTPMSwtpmReport(swtpm, name);
    return -1;
}


int
virStorageTPMSwtpmInit(virStorageTPMSwtpm *swtpm)
{
    const uint32_t command[] = { VIR_STORAGE_TPM_SWTPM_CMD_INIT, 0 };

    if (virStorageTPMSwtpmRequest(swtpm, "CMD_INIT", command, G_N_ELEMENTS(command), NULL) < 0)
        return -1;

    virStorageTPMSwtpmDropName(swtpm);
    return 0;
}


/* Appends a part of the state; it comes in as many as swtpm likes. Sets @total
 * to the length of the whole. */
static int
virStorageTPMSwtpmGetPart(virStorageTPMSwtpm *swtpm,
                          virStorageTPMBytes *blob,
                          size_t *total)
{
    const uint32_t command[] = {
        VIR_STORAGE_TPM_SWTPM_CMD_GET_STATEBLOB,
        VIR_STORAGE_TPM_SWTPM_BLOB_DECRYPTED,
        VIR_STORAGE_TPM_SWTPM_BLOB_PERMANENT,
        blob->len,
    };
    uint32_t response[3]; /* flags, total length, length of this part */
    uint32_t result;

    /* an error may have no more than the result */
    if (virStorageTPMSwtpmSend(swtpm, command, G_N_ELEMENTS(command), NULL) < 0 ||
        virStorageTPMSwtpmReceive(swtpm, &result, 1) < 0 ||
        result != 0 ||
        virStorageTPMSwtpmReceive(swtpm, response, G_N_ELEMENTS(response)) < 0 ||
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
    return virStorageTPMSwtpmRead(swtpm, blob->data + blob->len - response[2], response[2]);
}


virStorageTPMBytes *
virStorageTPMSwtpmGetPermanent(virStorageTPMSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) blob = g_new0(virStorageTPMBytes, 1);
    size_t total = 0;

    do {
        if (virStorageTPMSwtpmGetPart(swtpm, blob, &total) < 0) {
            virStorageTPMSwtpmReport(swtpm, "CMD_GET_STATEBLOB");
            return NULL;
        }
    } while (blob->len < total);

    return g_steal_pointer(&blob);
}


int
virStorageTPMSwtpmSetPermanent(virStorageTPMSwtpm *swtpm,
                               const virStorageTPMBytes *blob)
{
    const uint32_t command[] = {
        VIR_STORAGE_TPM_SWTPM_CMD_SET_STATEBLOB,
        0, /* it is not encrypted */
        VIR_STORAGE_TPM_SWTPM_BLOB_PERMANENT,
        blob->len,
    };

    return virStorageTPMSwtpmRequest(swtpm, "CMD_SET_STATEBLOB",
                                     command, G_N_ELEMENTS(command), blob);
}


ssize_t
virStorageTPMSwtpmTransmit(virStorageTPMSwtpm *swtpm,
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
        swtpm->hangs = errno == EAGAIN;
        virStorageTPMSwtpmReport(swtpm, "a TPM command");
        return -1;
    }

    return got;
}


virStorageTPMBytes *
virStorageTPMSwtpmFinish(virStorageTPMSwtpm *swtpm)
{
    const uint32_t command[] = { VIR_STORAGE_TPM_SWTPM_CMD_SHUTDOWN };

    if (virStorageTPMSwtpmRequest(swtpm, "CMD_SHUTDOWN",
                                  command, G_N_ELEMENTS(command), NULL) < 0)
        return NULL;

    virStorageTPMSwtpmEnd(swtpm);

    if (swtpm->hangs) {
        virStorageTPMSwtpmReport(swtpm, "CMD_SHUTDOWN");
        return NULL;
    }

    return virStorageTPMBytesRead(swtpm->state, "swtpm");
}
