/*
 * qemu_tpm_volume_file.c: lock a volume that is a file, and hand it to swtpm
 *
 * The bytes of the file are the state. This daemon takes the lock, an open-file-
 * description lock over the whole file, before it looks at the content, and swtpm
 * inherits the descriptor: the lock is held for as long as swtpm lives. On a shared
 * file system swtpm's process gets a part of the lock as its own, so that the server does
 * not let it write any more once it has given the lock to another host. There, a swtpm that
 * can hand its own lock over to another host gets the whole lock as its own instead, and
 * another one on a file beside the volume (storage_vol_tpm_use.h). A guest that comes from
 * another host by such a file system finds the volume in use there, and gets the lock when
 * the other swtpm is done.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_domain.h"
#include "storage_conf_tpm.h"
#include "storage_vol_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virtime.h"
#include "virtpm.h"
#include "virutil.h"
#define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
#include "qemu_tpm_volumepriv.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_volume_file");

/* How long a volume that another host writes to is looked at until it is whole, in
 * milliseconds. */
#define QEMU_TPM_VOLUME_FILE_PROBE_WAIT 500


/* A lock of ours cannot be taken by another host while this one still has it.
 * swtpm's own can: where its capability is missing, a guest can run, but not
 * come from another host. */
static int
qemuTPMVolumeFileSelectLock(qemuTPMVolume *volume,
                            const virQEMUDriverConfig *cfg)
{
    const virStorageSource *src = volume->tpm->data.emulator.volume;

    volume->shared = virFileIsSharedFS(src->path, cfg->sharedFilesystems) == 1;
    if (!volume->shared)
        return 0;

    volume->swtpmLocks = virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_TPMSTATE_OPT_LOCK) &&
        virTPMSwtpmCapsGet(VIR_TPM_SWTPM_FEATURE_CMDARG_MIGRATION);

    if (volume->incoming && !volume->swtpmLocks) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is on a shared file system, but swtpm of this host cannot take its lock over from another host: use a swtpm with the capability 'tpmstate-opt-lock'"),
                       src->srcpool->volume, src->srcpool->pool);
        return -1;
    }

    return 0;
}


/* Whether the swtpm of another host uses the volume: 1 if so, 0 if not, -1 with an error
 * reported. */
static int
qemuTPMVolumeFileJoin(qemuTPMVolume *volume)
{
    const virStorageSource *src = volume->tpm->data.emulator.volume;
    int rc;

    if (!volume->incoming || !volume->swtpmLocks)
        return 0;

    if ((rc = virStorageVolTPMUseJoin(src->path, &volume->usefd)) < 0) {
        virStorageVolTPMReportLock(-rc, volume->usefd, src->path,
                                   src->srcpool->pool, src->srcpool->volume);
        return -1;
    }

    return rc;
}


/* What a migration brings may come from another file, even if this one is on a shared
 * file system: then nobody uses the volume, and it is locked as for every other start. */
static int
qemuTPMVolumeFileOpenAndLock(qemuTPMVolume *volume,
                             const virQEMUDriverConfig *cfg)
{
    const virStorageSource *src = volume->tpm->data.emulator.volume;
    const char *pool = src->srcpool->pool;
    const char *name = src->srcpool->volume;
    int rc;

    if (qemuTPMVolumeFileSelectLock(volume, cfg) < 0 ||
        (rc = qemuTPMVolumeFileJoin(volume)) < 0)
        return -1;

    volume->elsewhere = rc == 1;
    volume->fd = volume->elsewhere ? virStorageVolTPMOpenUnlocked(src->path, pool, name) :
        virStorageVolTPMOpen(src->path, pool, name);
    if (volume->fd < 0)
        return -1;

    if (!volume->swtpmLocks || volume->elsewhere)
        return 0;

    if ((rc = virStorageVolTPMUseBegin(src->path, &volume->usefd)) < 0) {
        virStorageVolTPMReportLock(-rc, volume->usefd, src->path, pool, name);
        return -1;
    }

    return 0;
}


/* A swtpm that writes meanwhile may have written a part. */
static int
qemuTPMVolumeFileProbe(const qemuTPMVolume *volume,
                       const char *path,
                       virTPMState *state)
{
    virTimeBackOffVar timer;

    if (virTPMStateProbe(volume->fd, path, state) < 0)
        return -1;

    if (!volume->elsewhere ||
        virTimeBackOffStart(&timer, 1, QEMU_TPM_VOLUME_FILE_PROBE_WAIT) < 0)
        return 0;

    while (state->kind == VIR_TPM_STATE_DAMAGED && virTimeBackOffWait(&timer)) {
        if (virTPMStateProbe(volume->fd, path, state) < 0)
            return -1;
    }

    return 0;
}


/* What a migration brings may be put on a blank volume: swtpm makes nothing there
 * before QEMU has loaded the TPM. */
static int
qemuTPMVolumeFileCheckContent(qemuTPMVolume *volume,
                              virTPMState *state)
{
    const virStorageSource *src = volume->tpm->data.emulator.volume;
    const char *pool = src->srcpool->pool;
    const char *name = src->srcpool->volume;
    bool secret = !!virStorageVolTPMGetSecret(src->encryption);

    if (qemuTPMVolumeFileProbe(volume, src->path, state) < 0)
        return -1;

    if (volume->incoming && state->kind == VIR_TPM_STATE_BLANK) {
        volume->encrypted = secret;
        return 0;
    }

    if (virStorageVolTPMCheckState(state, pool, name) < 0 ||
        virStorageVolTPMCheckSecret(state, secret, src->path, pool, name) < 0)
        return -1;

    volume->encrypted = state->encrypted;
    return 0;
}


/* What another host still uses is left alone: that has made the room. */
static int
qemuTPMVolumeFileAllocateState(qemuTPMVolume *volume)
{
    const virStorageSourcePoolDef *src = volume->tpm->data.emulator.volume->srcpool;

    if (volume->elsewhere)
        return 0;

    return virStorageVolTPMMakeRoom(volume->fd, src->pool, src->volume);
}


static int
qemuTPMVolumeFileSetOwner(int fd,
                          const char *path,
                          const virQEMUDriverConfig *cfg)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot stat TPM volume '%1$s'"), path);
        return -1;
    }

    if ((st.st_uid != cfg->swtpm_user || st.st_gid != cfg->swtpm_group) &&
        fchown(fd, cfg->swtpm_user, cfg->swtpm_group) < 0) {
        virReportSystemError(errno,
                             _("cannot change the owner of TPM volume '%1$s' to %2$u:%3$u"),
                             path, cfg->swtpm_user, cfg->swtpm_group);
        return -1;
    }

    if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0) {
        virReportSystemError(errno,
                             _("cannot change the mode of TPM volume '%1$s' to 0600"),
                             path);
        return -1;
    }

    return 0;
}


/* What the process that is about to become swtpm does with the lock, and as whom. */
typedef struct _qemuTPMVolumeFileHandOver qemuTPMVolumeFileHandOver;
struct _qemuTPMVolumeFileHandOver {
    const virStorageSource *src;
    int fd;       /* has the lock, and is inherited */
    bool whole;   /* swtpm takes the lock itself */
    bool reopen;  /* swtpm runs as another user than this process */
    uid_t uid;
    gid_t gid;
    int ngroups;
    gid_t groups[];
};


/* Returns what is done, for the memory of the TPM, which outlives the start of swtpm. */
static qemuTPMVolumeFileHandOver *
qemuTPMVolumeFileHandOverNew(const qemuTPMVolume *volume,
                             const virQEMUDriverConfig *cfg,
                             bool privileged)
{
    g_autofree gid_t *groups = NULL;
    qemuTPMVolumeFileHandOver *to;
    int n = 0;

    if (privileged && (n = virGetGroupList(cfg->swtpm_user, cfg->swtpm_group, &groups)) < 0)
        return NULL;

    to = g_malloc0(sizeof(*to) + n * sizeof(*groups));
    to->src = volume->tpm->data.emulator.volume;
    to->fd = volume->fd;
    to->whole = volume->swtpmLocks;
    to->reopen = privileged;
    to->uid = cfg->swtpm_user;
    to->gid = cfg->swtpm_group;
    to->ngroups = n;
    if (n > 0)
        memcpy(to->groups, groups, n * sizeof(*groups));
    return to;
}


/* The following run in the process that is about to become swtpm. It has no descriptors but
 * those that swtpm inherits, so that it keeps no other lock if a server does not answer. */

/* Returns a descriptor, or -errno. */
static int
qemuTPMVolumeFileOpenAsSwtpm(const qemuTPMVolumeFileHandOver *to)
{
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    int fd;

    if (setgroups(to->ngroups, to->groups) < 0 || setegid(to->gid) < 0 || seteuid(to->uid) < 0)
        return -errno;

    if ((fd = open(to->src->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) < 0)
        fd = -errno;

    if (seteuid(uid) < 0 || setegid(gid) < 0) {
        int err = errno;

        VIR_FORCE_CLOSE(fd);
        return -err;
    }

    return fd;
}


/* A server such as that of NFS tells the owners of locks apart by the user who opened
 * the file, too: a lock on what root has opened would not be that of swtpm, which opens
 * the file as another user. So the lock moves to what swtpm's user has opened. */
static int
qemuTPMVolumeFileReopenAsSwtpm(const qemuTPMVolumeFileHandOver *to)
{
    VIR_AUTOCLOSE fd = qemuTPMVolumeFileOpenAsSwtpm(to);
    int rc;

    /* swtpm cannot open it either, and its log says so. */
    if (fd == -EACCES)
        return 0;

    if (fd < 0)
        return fd;

    if (!virOFDLockNameRefersTo(fd, to->src->path) ||
        !virOFDLockNameRefersTo(to->fd, to->src->path))
        return -ESTALE;

    if ((rc = virOFDLockMove(to->fd, fd)) < 0)
        return rc;

    return dup2(fd, to->fd) < 0 ? -errno : 0;
}


/* A swtpm that locks takes a POSIX lock when QEMU tells it to begin. That one conflicts with
 * ours, even though both are one process's: so ours becomes that lock. */
static int
qemuTPMVolumeFileHandOverLock(void *opaque)
{
    const qemuTPMVolumeFileHandOver *to = opaque;
    const virStorageSourcePoolDef *names = to->src->srcpool;
    int rc = to->reopen ? qemuTPMVolumeFileReopenAsSwtpm(to) : 0;

    if (rc == 0)
        rc = to->whole ? virOFDLockMoveToProcess(to->fd) : virOFDLockDivideWithProcess(to->fd);

    if (rc == 0)
        return 0;

    virReportSystemError(-rc,
                         _("cannot hand over the lock of TPM volume '%1$s' of pool '%2$s' to swtpm"),
                         names->volume, names->pool);
    return -1;
}


static int
qemuTPMVolumeFileSetHandOver(qemuTPMVolume *volume,
                             const virQEMUDriverConfig *cfg,
                             bool privileged,
                             virCommand *cmd)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(volume->tpm);

    g_clear_pointer(&priv->volume.handOver, g_free);
    if (!(priv->volume.handOver = qemuTPMVolumeFileHandOverNew(volume, cfg, privileged)))
        return -1;

    virCommandSetPreExecHook(cmd, qemuTPMVolumeFileHandOverLock, priv->volume.handOver);
    return 0;
}


static int
qemuTPMVolumeFileHandToSwtpm(qemuTPMVolume *volume,
                             const virQEMUDriverConfig *cfg,
                             bool privileged,
                             virCommand *cmd)
{
    const virStorageSource *src = volume->tpm->data.emulator.volume;

    qemuTPMVolumeAddFD(cmd, &volume->usefd);

    if (volume->elsewhere) {
        VIR_FORCE_CLOSE(volume->fd);
        return 0;
    }

    if (privileged &&
        qemuTPMVolumeFileSetOwner(volume->fd, src->path, cfg) < 0)
        return -1;

    if (volume->shared && qemuTPMVolumeFileSetHandOver(volume, cfg, privileged, cmd) < 0)
        return -1;

    qemuTPMVolumeAddFD(cmd, &volume->fd);
    return 0;
}


/* A file that cannot be opened is no reason to keep a TPM from being saved, that swtpm
 * still has. */
static int
qemuTPMVolumeFileReserveVolatile(const virStorageSource *src)
{
    const virStorageSourcePoolDef *names = src->srcpool;
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenUnlocked(src->path, names->pool, names->volume);

    if (fd >= 0)
        return virStorageVolTPMReserve(fd, names->pool, names->volume);

    VIR_WARN("cannot reserve space: %s", virGetLastErrorMessage());
    virResetLastError();
    return 0;
}


static bool
qemuTPMVolumeFileLockUnused(const virStorageSource *src,
                            int *fd)
{
    return virStorageVolTPMUseLock(src->path, 0, fd) == 0;
}


const qemuTPMVolumeOps qemuTPMVolumeFileOps = {
    .openAndLock = qemuTPMVolumeFileOpenAndLock,
    .checkContent = qemuTPMVolumeFileCheckContent,
    .allocateState = qemuTPMVolumeFileAllocateState,
    .handToSwtpm = qemuTPMVolumeFileHandToSwtpm,
    .reserveVolatile = qemuTPMVolumeFileReserveVolatile,
    .lockUnused = qemuTPMVolumeFileLockUnused,
};
