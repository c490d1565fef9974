/*
 * qemu_tpm_volume_error.c: tell why a domain did not start with its TPM on a volume
 *
 * swtpm opens and decrypts the state only when QEMU has started, and writes the reason
 * of a failure to its log: QEMU knows no more than that the TPM failed. So the error
 * paths of a start and of an incoming migration call here, where what swtpm has written
 * to its log since the start began is read, and the error replaced by one that names
 * the volume, the reason and the remedy.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "domain_conf_tpm.h"
#include "qemu_domain.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"
#define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
#include "qemu_tpm_volumepriv.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

/* Where less is free on a file system, in bytes, an error of swtpm is taken for one
 * of a full file system, such as one that writes to other blocks each time. */
#define QEMU_TPM_VOLUME_ROOM (16 * 1024)

/* How much of swtpm's log, from where this start began, is looked at. */
#define QEMU_TPM_VOLUME_LOG_MAX (64 * 1024)


/* Swtpm's user can put what he likes in the log's place: the start is refused then,
 * and nothing is read. */
void
qemuTPMVolumeMarkLog(virDomainTPMDef *tpm)
{
    qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);
    struct stat st;

    VIR_FORCE_CLOSE(priv->volume.logfd);
    priv->volume.logfd = open(tpm->data.emulator.logfile,
                              O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (priv->volume.logfd < 0 ||
        fstat(priv->volume.logfd, &st) < 0 || !S_ISREG(st.st_mode)) {
        VIR_FORCE_CLOSE(priv->volume.logfd);
        return;
    }

    priv->volume.logOffset = st.st_size;
}


/* The passphrase encrypts the TPM in the guest's saved memory and in a migration
 * stream, too. */
void
qemuTPMVolumeReportEncrypted(virDomainObj *vm,
                             const virStorageSourcePoolDef *src)
{
    if (vm->job->asyncJob == VIR_ASYNC_JOB_MIGRATION_IN) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is not encrypted, and cannot take the encrypted TPM of the other host: create an encrypted volume whose secret has the same value"),
                       src->volume, src->pool);
        return;
    }

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM volume '%1$s' of pool '%2$s' is not encrypted, but was encrypted when the guest was saved: restore the volume with the secret that it had"),
                   src->volume, src->pool);
}


static void
qemuTPMVolumeReportOtherPassphrase(virDomainObj *vm,
                                   const virStorageSourcePoolDef *src)
{
    if (vm->job->asyncJob == VIR_ASYNC_JOB_MIGRATION_IN) {
        virReportError(VIR_ERR_AUTH_FAILED,
                       _("secret of TPM volume '%1$s' of pool '%2$s' does not match the one of the other host: set the same value on both hosts"),
                       src->volume, src->pool);
        return;
    }

    virReportError(VIR_ERR_AUTH_FAILED,
                   _("cannot restore the TPM on volume '%1$s' of pool '%2$s', which had another passphrase when the guest was saved: set that passphrase, or start the guest without the saved image"),
                   src->volume, src->pool);
}


/* Returns what swtpm has written to its log since the start began, or NULL. The
 * log may have been renamed or truncated meanwhile. */
static char *
qemuTPMVolumeReadLog(virDomainTPMDef *tpm)
{
    const qemuDomainTPMPrivate *priv = QEMU_DOMAIN_TPM_PRIVATE(tpm);
    g_autofree char *log = NULL;
    off_t offset = priv->volume.logOffset;
    int fd = priv->volume.logfd;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;

    if (st.st_size < offset)
        offset = 0;

    if (lseek(fd, offset, SEEK_SET) < 0 ||
        virFileReadHeaderFD(fd, QEMU_TPM_VOLUME_LOG_MAX, &log) < 0)
        return NULL;

    return g_steal_pointer(&log);
}


/* Whether the last error is about the TPM: QEMU's driver for it or swtpm. */
static bool
qemuTPMVolumeErrorIsTPM(void)
{
    const char *message = virGetLastErrorMessage();

    return strstr(message, "tpm-emulator") || strstr(message, "swtpm");
}


/* Whether the volume's file system is full. swtpm, which maps the file, is then killed
 * by SIGBUS and logs nothing. */
static bool
qemuTPMVolumeIsFull(const char *path)
{
    struct statvfs fs;

    return statvfs(path, &fs) == 0 && fs.f_blocks > 0 &&
        (unsigned long long) fs.f_bavail * fs.f_frsize < QEMU_TPM_VOLUME_ROOM;
}


/* Returns the first directory above the volume that the account of swtpm cannot
 * search, or NULL. */
static char *
qemuTPMVolumeFindClosedDir(const char *path,
                           const virQEMUDriverConfig *cfg)
{
    const char *end = path;

    while ((end = strchr(end + 1, '/'))) {
        g_autofree char *dir = g_strndup(path, end - path);

        if (virFileAccessibleAs(dir, X_OK, cfg->swtpm_user, cfg->swtpm_group) < 0)
            return g_steal_pointer(&dir);
    }

    return NULL;
}


/* swtpm's own words tell the reason, but where it has none or does not know. */
static void
qemuTPMVolumeReportSwtpm(virQEMUDriver *driver,
                         const virDomainTPMEmulatorDef *emulator,
                         const char *log)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;
    g_autofree char *closed = NULL;

    if (driver->privileged && strstr(log, "Permission denied") &&
        (closed = qemuTPMVolumeFindClosedDir(emulator->volume->path, cfg))) {
        g_autofree char *user = virGetUserName(cfg->swtpm_user);

        virReportSystemError(EACCES,
                             _("swtpm, which runs as user '%1$s', cannot search directory '%2$s' above TPM volume '%3$s' of pool '%4$s': allow it, for example with chmod o+x"),
                             user, closed, src->volume, src->pool);
        return;
    }

    if (*log)
        virStorageVolTPMReportSwtpm(log, virGetLastErrorMessage(), src->pool, src->volume);

    /* a wrong passphrase is one however full the file system is */
    if (virGetLastErrorCode() != VIR_ERR_AUTH_FAILED &&
        qemuTPMVolumeIsFull(emulator->volume->path))
        virReportSystemError(ENOSPC,
                             _("swtpm cannot write TPM volume '%1$s' of pool '%2$s'"),
                             src->volume, src->pool);
}


/* The first two lines are only logged when QEMU's TPM state could not be decrypted.
 * Others count only if the error is about the TPM. */
static void
qemuTPMVolumeReportLog(virDomainObj *vm,
                       const virDomainTPMEmulatorDef *emulator,
                       const char *log)
{
    const virStorageSourcePoolDef *src = emulator->volume->srcpool;

    if (strstr(log, "Missing migration key"))
        qemuTPMVolumeReportEncrypted(vm, src);
    else if (strstr(log, "with the migration key failed"))
        qemuTPMVolumeReportOtherPassphrase(vm, src);
    else if (qemuTPMVolumeErrorIsTPM())
        qemuTPMVolumeReportSwtpm(QEMU_DOMAIN_PRIVATE(vm)->driver, emulator, log);
}


void
qemuTPMVolumeReportStartError(virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->ntpms; i++) {
        virDomainTPMDef *tpm = vm->def->tpms[i];
        g_autofree char *log = NULL;

        if (virDomainTPMDefHasVolume(tpm) &&
            (log = qemuTPMVolumeReadLog(tpm)))
            qemuTPMVolumeReportLog(vm, &tpm->data.emulator, log);
    }
}


virErrorPtr
qemuTPMVolumeExplainError(virDomainObj *vm,
                          virErrorPtr error)
{
    if (!error)
        return NULL;

    virErrorRestore(&error);
    qemuTPMVolumeReportStartError(vm);
    virErrorPreserveLast(&error);
    return error;
}
