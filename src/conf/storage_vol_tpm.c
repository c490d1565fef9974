/*
 * storage_vol_tpm.c: open, lock and check the file of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the drivers that use TPM volumes have in common: the file of a volume is opened
 * and locked, what it holds is checked before swtpm is run on it, and whatever is in
 * the way is reported with the names of volume and pool and what to do about it.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_vol_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virofdlock.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


int
virStorageVolTPMCheckState(const virTPMState *state,
                           const char *pool,
                           const char *vol)
{
    switch (state->kind) {
    case VIR_TPM_STATE_LINEAR:
        return 0;

    case VIR_TPM_STATE_BLANK:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' is blank: upload or migrate TPM state to it, or delete it and create it again with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_DAMAGED:
        if (state->mendable) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("TPM volume '%1$s' of pool '%2$s' is damaged, as its header has lost the TPM state: repair it with 'virt-tpm-volume repair'"),
                           vol, pool);
            return -1;
        }
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' is damaged, as its TPM state is truncated or inconsistent: restore it from a backup with vol-upload"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_BLOB:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a bare TPM state blob, not swtpm's linear file: import it with vol-upload or vol-create-from"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_QCOW2:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a qcow2 image, not TPM state: move the image elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_LUKS:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a LUKS container, not TPM state: move the container elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_UNKNOWN:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' does not hold TPM state: move the file elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_LAST:
        break;
    }

    virReportEnumRangeError(virTPMStateKind, state->kind);
    return -1;
}


int
virStorageVolTPMCheckSecret(const virTPMState *state,
                            bool secret,
                            const char *path,
                            const char *pool,
                            const char *vol)
{
    if (state->encrypted && !secret) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is encrypted, but no secret is known for it: define one of usage type 'vtpm' whose usage name is '%3$s'"),
                       vol, pool, path);
        return -1;
    }

    if (!state->encrypted && secret) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has a secret, but its content is not encrypted and may have been replaced: restore the volume from a backup"),
                       vol, pool);
        return -1;
    }

    if (state->encrypted) {
        g_autofree char *name = g_strdup_printf("%s/%s", pool, vol);

        return virStorageVolTPMCheckCipher(state, name);
    }

    return 0;
}


int
virStorageVolTPMCheckCipher(const virTPMState *state,
                            const char *name)
{
    if (!state->shortkey)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM state in '%1$s' is encrypted with AES-128, which is not supported: decrypt it with swtpm first"),
                   name);
    return -1;
}


/* Returns the lines of swtpm's log in one, without the one that says no more
 * than that the other side is gone. */
static char *
virStorageVolTPMJoinLog(const char *log)
{
    g_auto(GStrv) lines = g_strsplit(log, "\n", 0);
    g_autoptr(GString) joined = g_string_new(NULL);
    size_t i;

    for (i = 0; lines[i]; i++) {
        if (!*lines[i] || STREQ(lines[i], "Data client disconnected"))
            continue;

        g_string_append_printf(joined, "%s%s", joined->len ? "; " : "", lines[i]);
    }

    return g_strdup(joined->str);
}


/* libtpms says so of a state that it is too old for:
 *   ... Minimum version 4 higher than implementation version 3 for type 0xab364723 */
static bool
virStorageVolTPMReportNewer(const char *log,
                            const char *pool,
                            const char *vol)
{
    const char *said = strstr(log, "Minimum version ");
    unsigned int needed;
    unsigned int known;

    if (!said || sscanf(said, "Minimum version %u higher than implementation version %u",
                        &needed, &known) != 2)
        return false;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM state of volume '%1$s' of pool '%2$s' has format %3$u of a newer libtpms, but this host supports formats up to %4$u: update libtpms"),
                   vol, pool, needed, known);
    return true;
}


void
virStorageVolTPMReportSwtpm(const char *log,
                            const char *otherwise,
                            const char *pool,
                            const char *vol)
{
    g_autofree char *reason = NULL;

    if (strstr(log, "Verification of HMAC failed")) {
        virReportError(VIR_ERR_AUTH_FAILED,
                       _("wrong passphrase for TPM volume '%1$s' of pool '%2$s', or its content was tampered with"),
                       vol, pool);
        return;
    }

    if (virStorageVolTPMReportNewer(log, pool, vol))
        return;

    if (strstr(log, "Invalid magic")) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' does not hold permanent TPM state"),
                       vol, pool);
        return;
    }

    reason = virStorageVolTPMJoinLog(log);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot start the TPM on volume '%1$s' of pool '%2$s': %3$s"),
                   vol, pool, *reason ? reason : otherwise);
}


void
virStorageVolTPMReportOpen(int err,
                           const char *path,
                           const char *pool,
                           const char *vol)
{
    if (virFileIsNotRegularErrno(err)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' of TPM volume '%2$s' of pool '%3$s' is not a regular file"),
                       path, vol, pool);
        return;
    }

    switch (err) {
    case ENOENT:
    case ENOTDIR:
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("file '%1$s' of TPM volume '%2$s' of pool '%3$s' not found: check that the file system is mounted, or run pool-refresh if the file was removed"),
                       path, vol, pool);
        return;

    case EACCES:
    case EPERM:
        virReportSystemError(err,
                             _("no permission to read and write '%1$s' of TPM volume '%2$s' of pool '%3$s': check its owner, mode and security label, and the access of root to a network file system"),
                             path, vol, pool);
        return;

    case EROFS:
        virReportSystemError(err,
                             _("cannot write to '%1$s' of TPM volume '%2$s' of pool '%3$s': a TPM requires a writable file system"),
                             path, vol, pool);
        return;

    case EBUSY:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' cannot be opened, as a process of this host or another one keeps a lease on '%3$s'"),
                       vol, pool, path);
        return;

    default:
        virReportSystemError(err,
                             _("cannot open '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                             path, vol, pool);
    }
}


static void
virStorageVolTPMReportBusy(int fd,
                           const char *pool,
                           const char *vol)
{
    g_autofree char *holder = NULL;

    switch (virOFDLockFindHolder(fd, &holder)) {
    case VIR_OFD_LOCK_HOLDER_PROCESS:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use by %3$s: stop the guest or wait for the operation that uses it"),
                       vol, pool, holder);
        return;

    case VIR_OFD_LOCK_HOLDER_ELSEWHERE:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use, but not by a process on this host (another host on shared storage?)"),
                       vol, pool);
        return;

    case VIR_OFD_LOCK_HOLDER_UNKNOWN:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use by an unknown process on this host or another one"),
                       vol, pool);
        return;
    }
}


void
virStorageVolTPMReportLock(int err,
                           int fd,
                           const char *path,
                           const char *pool,
                           const char *vol)
{
    switch (err) {
    case EAGAIN:
        virStorageVolTPMReportBusy(fd, pool, vol);
        return;

    case ENOSYS:
        virReportError(VIR_ERR_NO_SUPPORT,
                       _("TPM volume '%1$s' of pool '%2$s' cannot be locked, as open file description locks are not supported on this platform"),
                       vol, pool);
        return;

    default:
        virReportSystemError(err,
                             _("cannot lock '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                             path, vol, pool);
    }
}


/* Only a regular file is a volume. Another kind would be let in here and by
 * virOFDLockOpen(), which whoever locks a volume opens it by. */
int
virStorageVolTPMOpenFile(const char *path,
                         int oflags,
                         struct stat *sb)
{
    return virFileOpenRegular(path, oflags, sb);
}


static int
virStorageVolTPMOpenOrReport(const char *path,
                             int oflags,
                             const char *pool,
                             const char *vol)
{
    struct stat sb;
    int fd = virStorageVolTPMOpenFile(path, oflags, &sb);

    if (fd < 0)
        virStorageVolTPMReportOpen(errno, path, pool, vol);

    return fd;
}


int
virStorageVolTPMOpenToRead(const char *path,
                           const char *pool,
                           const char *vol)
{
    return virStorageVolTPMOpenOrReport(path, O_RDONLY, pool, vol);
}


int
virStorageVolTPMOpenUnlocked(const char *path,
                             const char *pool,
                             const char *vol)
{
    return virStorageVolTPMOpenOrReport(path, O_RDWR, pool, vol);
}


/* A swtpm that has given up its lock asks for it again for a few seconds only: so nobody has
 * it while the name of that swtpm is looked for. */
static int
virStorageVolTPMCheckUnused(const char *path,
                            const char *pool,
                            const char *vol,
                            int *lock)
{
    g_autofree char *uselock = virStorageVolTPMUsePath(path);
    VIR_AUTOCLOSE use = -1;
    int rc = virStorageVolTPMUseTest(path, &use);

    if (rc == 0)
        return 0;

    VIR_FORCE_CLOSE(*lock);
    virStorageVolTPMReportLock(-rc, use, uselock, pool, vol);
    return -1;
}


int
virStorageVolTPMOpen(const char *path,
                     const char *pool,
                     const char *vol)
{
    VIR_AUTOCLOSE fd = -1;
    int ret;
    int rc;

    if (virStorageVolTPMCheckUnused(path, pool, vol, &fd) < 0)
        return -1;

    rc = virOFDLockOpen(path, 0, &fd);

    if (fd < 0) {
        virStorageVolTPMReportOpen(-rc, path, pool, vol);
        return -1;
    }

    if (rc < 0) {
        virStorageVolTPMReportLock(-rc, fd, path, pool, vol);
        return -1;
    }

    if (virStorageVolTPMCheckUnused(path, pool, vol, &fd) < 0)
        return -1;

    ret = fd;
    fd = -1;
    return ret;
}


int
virStorageVolTPMMakeRoom(int fd,
                         const char *pool,
                         const char *vol)
{
    uint64_t len = 0;
    int rc = virTPMStateMakeRoom(fd, &len);

    if (rc == 0)
        return 0;

    if (len == 0) {
        virReportSystemError(-rc, _("cannot read TPM volume '%1$s' of pool '%2$s'"),
                             vol, pool);
        return -1;
    }

    virReportSystemError(-rc,
                         _("cannot allocate %1$llu bytes for TPM volume '%2$s' of pool '%3$s'"),
                         (unsigned long long)len, vol, pool);
    return -1;
}


int
virStorageVolTPMReserve(int fd,
                        const char *pool,
                        const char *vol)
{
    int rc = virTPMStateReserve(fd);

    if (rc == 0)
        return 0;

    virReportSystemError(-rc,
                         _("cannot reserve %1$d bytes for the volatile state of TPM volume '%2$s' of pool '%3$s'"),
                         VIR_TPM_STATE_VOLATILE_ROOM, vol, pool);
    return -1;
}
