/*
 * storage_tpm_store.c: make, replace and remove the volumes of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What changes a volume is here, so that what an operation leaves behind when it is
 * interrupted is decided in one place. A directory is the only kind of store so far.
 *
 * Names. storage_tpm_name.c lists them. Only a locked file gets a name. It may replace a
 * file only under that file's lock, and a name is taken away only under the lock of its
 * file. Another kind of store is another table, chosen by virStorageTPMStoreFor()
 * and virStorageTPMStoreForPool().
 *
 * create    The state is written to a temporary and synced. The sidecar gets its name,
 *           and stays locked. The temporary gets the name of the volume: now there is a
 *           volume. Killed before that: a temporary, which virStorageTPMSweep() overwrites
 *           and removes at the next refresh, and a sidecar without a volume, which does no
 *           harm and is replaced by the next create of that name.
 * replace   Under the lock of the volume, the new state is written to a temporary and
 *           synced, the sidecar gets the description of both, the temporary is renamed to
 *           the volume, the sidecar gets one description. Killed in between: the old
 *           volume or the new one, and a sidecar that tells which of its descriptions
 *           holds; virStorageTPMSidecarRead() leaves that one.
 * blank     Under the lock, the sidecar no longer says that the volume was made blank. The
 *           volume gets a second name, as an old content. An empty temporary is renamed to
 *           the volume. The certificates go from the sidecar. The old content is
 *           overwritten, and its name removed. Killed in between: virStorageTPMSweep()
 *           overwrites and removes the old content at the next refresh, and
 *           virStorageTPMSweepOld() before the next wipe.
 * remove    Under the lock of the volume and of its sidecar, the file of its users' lock
 *           goes, then the volume's name, then that of the sidecar. Killed in between: a
 *           sidecar without a volume. To be overwritten, the volume gets a second name
 *           before, as in blank.
 *
 * After a rename there is no failure left to report: what cannot be synced then is a
 * warning in the log.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_describe.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_name.h"
#include "storage_tpm_scan.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_store.h"
#include "storage_tpm_sweep.h"
#include "storage_tpm_temp.h"
#include "storage_util.h"
#include "storage_vol_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virstring.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_store");


/* Between two reads of a volume: long enough for swtpm to end a write that it
 * was interrupted in, short enough to fit between two writes. */
#define VIR_STORAGE_TPM_STORE_PAUSE (5 * 1000)

/* Reads a volume twice: returns the bytes if both times they were the same, and
 * whole; NULL without an error if not. */
static virStorageTPMBytes *
virStorageTPMStoreReadTwice(int fd,
                            const char *path)
{
    g_autoptr(virStorageTPMBytes) first = virStorageTPMBytesRead(fd, path);
    g_autoptr(virStorageTPMBytes) second = NULL;
    virTPMState state;

    g_usleep(VIR_STORAGE_TPM_STORE_PAUSE);

    if (first)
        second = virStorageTPMBytesRead(fd, path);

    if (!second || first->len != second->len)
        return NULL;

    virTPMStateProbeBytes(first->data, first->len, &state);

    if (state.kind != VIR_TPM_STATE_LINEAR ||
        memcmp(first->data, second->data, first->len) != 0)
        return NULL;

    return g_steal_pointer(&first);
}


/* Reads a volume once more from its path: sets @bytes to a whole copy, or NULL
 * if there is none right now. */
static int
virStorageTPMStoreReadOnce(const char *path,
                           const char *pool,
                           const char *vol,
                           virStorageTPMBytes **bytes)
{
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenToRead(path, pool, vol);
    int rc;

    *bytes = NULL;

    if (fd < 0)
        return -1;

    /* what was replaced may have been overwritten since */
    if ((rc = virOFDLockAcquireNamed(fd, path, true)) == -ESTALE)
        return 0;

    if (rc == -EAGAIN) {
        *bytes = virStorageTPMStoreReadTwice(fd, path);
        virResetLastError();
        return 0;
    }

    if (rc < 0) {
        virStorageVolTPMReportLock(-rc, fd, path, pool, vol);
        return -1;
    }

    /* Whatever a volume holds can be read, if nobody writes to it. */
    *bytes = virStorageTPMBytesRead(fd, path);
    return *bytes ? 0 : -1;
}


static virStorageTPMBytes *
virStorageTPMStoreRead(const char *path,
                       const char *pool,
                       const char *vol)
{
    const gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    virStorageTPMBytes *bytes;

    do {
        if (virStorageTPMStoreReadOnce(path, pool, vol, &bytes) < 0)
            return NULL;
    } while (!bytes && g_get_monotonic_time() < until);

    if (bytes)
        return bytes;

    virReportError(VIR_ERR_RESOURCE_BUSY,
                   _("TPM volume '%1$s' of pool '%2$s' is in use, and no consistent copy could be read within 5 seconds: suspend the guest and try again"),
                   vol, pool);
    return NULL;
}


static int
virStorageTPMStoreCreate(virStoragePoolDef *def,
                         const virStorageVolDef *vol,
                         const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (!(temp = virStorageTPMTempNew(def->target.path, vol->name, vol->target.perms)) ||
        virStorageTPMTempWrite(temp, bytes) < 0 ||
        !(sidecar = virStorageTPMSidecarPlace(def, vol)) ||
        virStorageTPMTempPublish(temp, vol->target.path) < 0)
        return -1;

    virStorageTPMTempKeep(sidecar);
    virStorageTPMDirRemember(def);
    return 0;
}


/* Until the volume is replaced it is described as before. One that had no description
 * has the new identity already, but not the keys, certificates and PCR banks of another
 * TPM than it holds. */
static int
virStorageTPMStoreAnnounce(virStoragePoolDef *pool,
                           const virStorageVolDef *before,
                           const virStorageVolDef *next,
                           const virStorageTPMTemp *file)
{
    g_autoptr(virStorageVolTPMDef) tpm = NULL;
    virStorageVolDef nothing = *next;

    if (before)
        return virStorageTPMSidecarAnnounce(pool, before, next, file);

    tpm = virStorageVolTPMDefCopy(next->tpm);
    virStorageVolTPMDefClearEndorsements(tpm);
    g_clear_pointer(&tpm->activePcrBanks, virBitmapFree);
    nothing.tpm = tpm;
    return virStorageTPMSidecarAnnounce(pool, &nothing, next, file);
}


/* Leaves one description in the sidecar. That both are there does no harm. */
static void
virStorageTPMStoreWriteDescription(virStoragePoolDef *pool,
                                   const virStorageVolDef *vol,
                                   const virStorageVolDef *def)
{
    virErrorPtr err;

    virErrorPreserveLast(&err);

    if (virStorageTPMSidecarReplace(pool, def) < 0)
        VIR_WARN("description '%s%s' of TPM volume '%s' of pool '%s' cannot be replaced now: %s",
                 vol->target.path, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX,
                 vol->name, pool->name, virGetLastErrorMessage());

    virErrorRestore(&err);
}


static int
virStorageTPMStoreReplace(virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          int lock,
                          const virStorageTPMBytes *bytes,
                          const virStorageVolDef *before,
                          const virStorageVolDef *next,
                          void (*replaced)(void *opaque),
                          void *opaque)
{
    g_autoptr(virStorageTPMTemp) now = NULL;

    if (!(now = virStorageTPMTempNewReplacement(pool, vol, lock, bytes)) ||
        (next && virStorageTPMStoreAnnounce(pool, before, next, now) < 0))
        return -1;

    if (virStorageTPMTempReplace(now, vol->target.path) < 0) {
        if (next && before)
            virStorageTPMStoreWriteDescription(pool, vol, before);
        return -1;
    }

    /* the volume is replaced: there is no failure any more */
    replaced(opaque);

    if (next)
        virStorageTPMStoreWriteDescription(pool, vol, next);

    return 0;
}


/* Overwrites what was set aside, by libvirt's own means. Not by its name, which
 * might stand for something else by now. */
static int
virStorageTPMStoreScrub(const virStoragePoolDef *pool,
                        const virStorageVolDef *vol,
                        const virStorageTPMTemp *old,
                        unsigned int algorithm)
{
    g_autofree char *path = virStorageTPMBytesFdPath(old->fd);
    g_autofree char *said = NULL;
    virStorageVolDef file = { .name = vol->name, .target.path = path };
    struct stat sb;

    if (fstat(old->fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot stat '%1$s'"), vol->target.path);
        return -1;
    }

    /* a file with holes, as swtpm may leave one, would only be cut off */
    if (sb.st_size <= VIR_TPM_STATE_MAX_SIZE)
        ignore_value(posix_fallocate(old->fd, 0, sb.st_size));

    file.target.format = VIR_STORAGE_FILE_RAW;
    file.target.allocation = sb.st_size;

    if (virStorageBackendVolWipeLocal(NULL, &file, algorithm, 0) == 0)
        return 0;

    /* the user knows the volume, and not the descriptor */
    said = virStringReplace(virGetLastErrorMessage(), path, vol->target.path);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("old content of TPM volume '%1$s' of pool '%2$s' was overwritten with zeros only: %3$s"),
                   vol->name, pool->name, said);
    return -1;
}


/* Overwrites what was set aside; it then goes with the temporary. Where the
 * algorithm fails, zeros are written; where not even that can be done, the content
 * is kept and named. */
static int
virStorageTPMStoreOverwrite(const virStoragePoolDef *pool,
                            const virStorageVolDef *vol,
                            virStorageTPMTemp *old,
                            unsigned int algorithm)
{
    if (virStorageTPMStoreScrub(pool, vol, old, algorithm) == 0)
        return 0;

    if (virStorageTPMTempOverwrite(old->fd) < 0) {
        virStorageTPMTempReportOld(errno, pool, vol->name, old->path);
        virStorageTPMTempKeep(old);
        return -1;
    }

    if (algorithm != VIR_STORAGE_VOL_WIPE_ALG_ZERO)
        return -1;

    virResetLastError();
    return 0;
}


/* Before a volume is wiped: it is no longer one that was made blank, see
 * virStorageVolTPMDefClearLost(). */
static int
virStorageTPMStoreClearManufacture(virStoragePoolDef *def,
                                   virStorageVolDef *sidecar)
{
    if (!sidecar || !sidecar->tpm || !sidecar->tpm->manufacture)
        return 0;

    sidecar->tpm->manufacture = VIR_TRISTATE_BOOL_ABSENT;
    return virStorageTPMSidecarReplace(def, sidecar);
}


/* The certificates are those of a TPM that is no more; the identity stays, for
 * a state that is brought here. Of a blank volume they are not shown anyhow, see
 * virStorageVolTPMDefClearLost(): that they could not be removed is no failure. */
static void
virStorageTPMStoreDropCertificates(virStoragePoolDef *def,
                                   virStorageVolDef *sidecar)
{
    if (!sidecar || !sidecar->tpm)
        return;

    virStorageVolTPMDefClearEndorsements(sidecar->tpm);

    if (virStorageTPMSidecarReplace(def, sidecar) < 0) {
        VIR_WARN("cannot remove the certificates of TPM volume '%s' of pool '%s': %s",
                 sidecar->name, def->name, virGetLastErrorMessage());
        virResetLastError();
    }
}


static int
virStorageTPMStoreBlank(virStoragePoolDef *pool,
                        const virStorageVolDef *vol,
                        unsigned int algorithm)
{
    g_autoptr(virStorageVolDef) sidecar = NULL;
    g_autoptr(virStorageTPMTemp) old = NULL;
    g_autoptr(virStorageTPMTemp) blank = NULL;
    VIR_AUTOCLOSE lock = -1;

    if (virStorageTPMSweepOld(pool, vol->name) < 0 ||
        (lock = virStorageVolTPMOpen(vol->target.path, pool->name, vol->name)) < 0)
        return -1;

    if (virStorageTPMSidecarRead(pool, vol->name, lock, &sidecar) < 0 ||
        virStorageTPMStoreClearManufacture(pool, sidecar) < 0 ||
        !(old = virStorageTPMTempSetAside(pool, vol, &lock)) ||
        !(blank = virStorageTPMTempNewReplacement(pool, vol, old->fd, NULL)) ||
        virStorageTPMTempReplace(blank, vol->target.path) < 0)
        return -1;

    virStorageTPMStoreDropCertificates(pool, sidecar);

    return virStorageTPMStoreOverwrite(pool, vol, old, algorithm);
}


int
virStorageTPMStoreUnlink(const virStoragePoolDef *pool,
                         const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMNameSidecarPath(pool, vol->name);
    VIR_AUTOCLOSE fd = -1;
    bool sidecar = virStorageTPMSidecarLock(path, &fd);

    /* before the name can be that of another volume */
    virStorageVolTPMUseRemove(vol->target.path);

    if (unlink(vol->target.path) < 0) {
        virReportSystemError(errno, _("cannot remove volume '%1$s'"),
                             vol->target.path);
        return -1;
    }

    if (sidecar)
        virStorageTPMSidecarUnlink(path);

    virStorageTPMDirSync(pool->target.path);
    return 0;
}


static int
virStorageTPMStoreRemove(const virStoragePoolDef *pool,
                         const virStorageVolDef *vol,
                         bool overwrite)
{
    g_autoptr(virStorageTPMTemp) old = NULL;
    VIR_AUTOCLOSE lock = -1;
    struct stat sb;

    if (overwrite && virStorageTPMSweepOld(pool, vol->name) < 0)
        return -1;

    if (g_lstat(vol->target.path, &sb) < 0 && errno == ENOENT) {
        if (virStorageTPMDirHasChanged(pool)) {
            virStorageTPMDirReportMissing(pool, vol->name);
            return -1;
        }

        virStorageTPMSidecarRemoveOrphan(pool, vol);
        return 0;
    }

    if ((lock = virStorageVolTPMOpen(vol->target.path, pool->name, vol->name)) < 0)
        return -1;

    if (!overwrite)
        return virStorageTPMStoreUnlink(pool, vol);

    if (!(old = virStorageTPMTempSetAside(pool, vol, &lock)) ||
        virStorageTPMStoreUnlink(pool, vol) < 0)
        return -1;

    return virStorageTPMStoreOverwrite(pool, vol, old, VIR_STORAGE_VOL_WIPE_ALG_ZERO);
}


static const virStorageTPMStore virStorageTPMStoreOfFiles = {
    .open = virStorageVolTPMOpen,
    .read = virStorageTPMStoreRead,
    .create = virStorageTPMStoreCreate,
    .replace = virStorageTPMStoreReplace,
    .blank = virStorageTPMStoreBlank,
    .remove = virStorageTPMStoreRemove,
    .describe = virStorageTPMDescribe,
    .scan = virStorageTPMScan,
};


const virStorageTPMStore *
virStorageTPMStoreFor(const virStorageVolDef *vol G_GNUC_UNUSED)
{
    return &virStorageTPMStoreOfFiles;
}


const virStorageTPMStore *
virStorageTPMStoreForPool(const virStoragePoolDef *pool G_GNUC_UNUSED)
{
    return &virStorageTPMStoreOfFiles;
}
