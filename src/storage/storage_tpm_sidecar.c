/*
 * storage_tpm_sidecar.c: the description of a TPM volume, in a file beside it
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A sidecar holds what the bytes of a volume do not tell: the identity of the TPM, its
 * endorsement keys and certificates, how it was made, and which secret it is encrypted
 * with. It is the volume's XML without its path, and never holds a secret's value.
 *
 * Volume and sidecar are two files, so that a crash can leave one without the other:
 *
 *  - a sidecar without a volume does no harm, and is replaced by whoever makes the volume;
 *  - a volume without a sidecar is usable, and gets one with a new identity;
 *  - while a volume is being replaced its sidecar has both descriptions, with the digest
 *    of the bytes that the new one is for. Whoever reads it takes the one that fits.
 *
 * Whoever makes a volume holds the lock of its sidecar until the volume is there.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_name.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_temp.h"
#include "storage_vol_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virlog.h"
#include "virofdlock.h"
#include "virstring.h"
#include "virtpmstate.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_sidecar");

#define VIR_STORAGE_TPM_SIDECAR_MAX (64 * 1024)

/* How long the end of an upload is waited for that has replaced a volume, in
 * microseconds. */
#define VIR_STORAGE_TPM_SIDECAR_WAIT (1000 * 1000)

/* How many times a name is tried that others give and take away. */
#define VIR_STORAGE_TPM_SIDECAR_TRIES 20

/* What the descriptions in a sidecar are. */
typedef enum {
    VIR_STORAGE_TPM_SIDECAR_ONE,      /* there is but one */
    VIR_STORAGE_TPM_SIDECAR_FORMER,   /* of two, the former holds: the volume was not replaced */
    VIR_STORAGE_TPM_SIDECAR_REPLACED, /* of two, that of the replacement holds */
} virStorageTPMSidecarDescriptions;


/* What of a volume goes into its sidecar. Shares the pointers of @vol. */
static char *
virStorageTPMSidecarFormat(virStoragePoolDef *pool,
                           const virStorageVolDef *vol)
{
    virStorageVolDef def = {
        .name = vol->name,
        .type = VIR_STORAGE_VOL_FILE,
        .target = {
            .capacity = vol->target.capacity,
            .format = vol->target.format,
            .encryption = vol->target.encryption,
        },
        .tpm = vol->tpm,
    };

    return virStorageVolDefFormat(pool, &def);
}


/* What tells whether a volume holds some bytes: their SHA-256 digest in hex. */
static char *
virStorageTPMSidecarDigest(int fd,
                           const char *path)
{
    g_autoptr(virStorageTPMBytes) bytes = virStorageTPMBytesRead(fd, path);

    return bytes ? g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes->data, bytes->len) : NULL;
}


/* Adds to a sidecar how the volume is described once it holds what is in @file:
 *   <replacement sha256='DIGEST'><volume>...</volume></replacement> */
static char *
virStorageTPMSidecarFormatReplacement(virStoragePoolDef *pool,
                                      const char *sidecar,
                                      const virStorageVolDef *next,
                                      const virStorageTPMTemp *file)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    g_autofree char *digest = virStorageTPMSidecarDigest(file->fd, file->path);
    g_autofree char *xml = virStorageTPMSidecarFormat(pool, next);

    if (!digest || !xml)
        return NULL;

    virBufferAdd(&buf, sidecar, -1);
    virBufferTrim(&buf, "</volume>\n");
    virBufferAsprintf(&buf, "<replacement sha256='%s'>\n", digest);
    virBufferAdd(&buf, xml, -1); /* not indented: certificates have lines */
    virBufferAddLit(&buf, "</replacement>\n</volume>\n");

    return virBufferContentAndReset(&buf);
}


virStorageTPMTemp *
virStorageTPMSidecarWrite(virStoragePoolDef *pool,
                          const virStorageVolDef *vol,
                          const virStorageVolDef *next,
                          const virStorageTPMTemp *file)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autofree char *xml = virStorageTPMSidecarFormat(pool, vol);

    if (xml && next) {
        g_autofree char *alone = g_steal_pointer(&xml);

        xml = virStorageTPMSidecarFormatReplacement(pool, alone, next, file);
    }

    if (!xml)
        return NULL;

    if (strlen(xml) > VIR_STORAGE_TPM_SIDECAR_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("description of TPM volume '%1$s' has %2$zu bytes, but at most %3$d are supported"),
                       vol->name, strlen(xml), VIR_STORAGE_TPM_SIDECAR_MAX);
        return NULL;
    }

    if (!(temp = virStorageTPMTempNew(pool->target.path, vol->name, NULL)) ||
        virStorageTPMTempWriteData(temp, xml, strlen(xml)) < 0)
        return NULL;

    temp->content = VIR_STORAGE_TPM_CONTENT_SIDECAR;
    return g_steal_pointer(&temp);
}


/* Puts a sidecar in the place of one that has no volume. Sets errno to EEXIST if
 * there is a volume, or somebody is making one: whoever does that holds the lock
 * of its sidecar until the volume is there. */
static int
virStorageTPMSidecarReplaceOrphan(virStorageTPMTemp *temp,
                                  const char *path,
                                  const virStorageVolDef *vol)
{
    VIR_AUTOCLOSE orphan = -1;
    struct stat sb;
    int rc = virOFDLockOpen(path, 0, &orphan);

    virFileRevalidateDir(path);
    if (rc == -EAGAIN || g_lstat(vol->target.path, &sb) == 0) {
        errno = EEXIST;
        return -1;
    }

    if (rc < 0) {
        errno = -rc;
        return -1;
    }

    return rename(temp->path, path);
}


/* Gives a sidecar its name, which nobody else takes away from it before its lock
 * is given up. */
static int
virStorageTPMSidecarRename(virStorageTPMTemp *temp,
                           const char *path,
                           const virStorageVolDef *vol)
{
    struct stat sb;
    size_t i;

    if (g_lstat(vol->target.path, &sb) == 0) {
        virStorageTPMTempReportExists(vol->target.path);
        return -1;
    }

    for (i = 0; i < VIR_STORAGE_TPM_SIDECAR_TRIES; i++) {
        if (virStorageTPMTempRename(temp->path, path) == 0)
            return 0;

        if (errno != EEXIST)
            break;

        if (virStorageTPMSidecarReplaceOrphan(temp, path, vol) == 0)
            return 0;

        if (errno == EEXIST) {
            virStorageTPMTempReportExists(vol->target.path);
            return -1;
        }

        /* unless the orphan is gone by now */
        if (errno != ENOENT)
            break;
    }

    virReportSystemError(errno, _("cannot rename '%1$s' to '%2$s'"),
                         temp->path, path);
    return -1;
}


virStorageTPMTemp *
virStorageTPMSidecarPlace(virStoragePoolDef *pool,
                          const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMNameSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol, NULL, NULL);

    if (!temp || virStorageTPMSidecarRename(temp, path, vol) < 0)
        return NULL;

    g_free(temp->path);
    temp->path = g_steal_pointer(&path);
    return g_steal_pointer(&temp);
}


int
virStorageTPMSidecarAnnounce(virStoragePoolDef *pool,
                             const virStorageVolDef *vol,
                             const virStorageVolDef *next,
                             const virStorageTPMTemp *file)
{
    g_autofree char *path = virStorageTPMNameSidecarPath(pool, vol->name);
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMSidecarWrite(pool, vol, next, file);

    return temp ? virStorageTPMTempReplace(temp, path) : -1;
}


int
virStorageTPMSidecarReplace(virStoragePoolDef *pool,
                            const virStorageVolDef *vol)
{
    return virStorageTPMSidecarAnnounce(pool, vol, NULL, NULL);
}


/* Checks that nobody but the directory's owner or this daemon could have written the
 * sidecar. Returns 0, or -1 with errno set. */
static int
virStorageTPMSidecarCheckOwner(const virStoragePoolDef *pool,
                               const struct stat *sb)
{
    struct stat dir;

    if (virStorageTPMDirOthersMayWrite(sb)) {
        errno = EPERM;
        return -1;
    }

    if (sb->st_uid == geteuid())
        return 0;

    if (stat(pool->target.path, &dir) < 0)
        return -1;

    if (sb->st_uid != dir.st_uid) {
        errno = EPERM;
        return -1;
    }

    return 0;
}


/* Returns the sidecar's text, or NULL with errno set. */
static char *
virStorageTPMSidecarLoad(const virStoragePoolDef *pool,
                         const char *path)
{
    g_autofree char *xml = NULL;
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    if ((fd = virFileOpenRegular(path, O_RDONLY, &sb)) < 0 ||
        virStorageTPMSidecarCheckOwner(pool, &sb) < 0 ||
        virFileReadLimFD(fd, VIR_STORAGE_TPM_SIDECAR_MAX, &xml) < 0)
        return NULL;

    return g_steal_pointer(&xml);
}


/* Whether a volume holds the bytes of which a sidecar has the digest. Returns -1 with
 * an error reported if they cannot be read. */
static int
virStorageTPMSidecarIsReplaced(const virStoragePoolDef *pool,
                               const char *name,
                               const char *digest)
{
    g_autofree char *path = g_strdup_printf("%s/%s", pool->target.path, name);
    g_autofree char *found = NULL;
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    if ((fd = virStorageVolTPMOpenFile(path, O_RDONLY, &sb)) < 0) {
        if (errno == ENOENT)
            return 0;
        virStorageVolTPMReportOpen(errno, path, pool->name, name);
        return -1;
    }

    found = virStorageTPMSidecarDigest(fd, path);
    return found ? STREQ(found, digest) : -1;
}


/* Finds the <volume> that describes the volume, and sets @volume to it. Returns which that
 * is, a virStorageTPMSidecarDescriptions, or -1 with an error reported. */
static int
virStorageTPMSidecarFindDescription(const virStoragePoolDef *pool,
                                    const char *name,
                                    xmlNodePtr root,
                                    xmlNodePtr *volume)
{
    xmlNodePtr node = virXMLNodeGetSubelement(root, "replacement");
    g_autofree char *digest = node ? virXMLPropString(node, "sha256") : NULL;
    xmlNodePtr next = node ? virXMLNodeGetSubelement(node, "volume") : NULL;
    int rc;

    *volume = root;

    if (!digest || !next)
        return VIR_STORAGE_TPM_SIDECAR_ONE;

    if ((rc = virStorageTPMSidecarIsReplaced(pool, name, digest)) < 0)
        return -1;

    if (rc == 0)
        return VIR_STORAGE_TPM_SIDECAR_FORMER;

    *volume = next;
    return VIR_STORAGE_TPM_SIDECAR_REPLACED;
}


/* Whether an error of virStorageTPMSidecarLoad() says that there is no sidecar, or
 * none that is taken; others do not tell what it is. Whoever is about to write one
 * does not replace one that only has the wrong owner or mode. */
static bool
virStorageTPMSidecarIsLost(int err,
                           bool writer)
{
    if (err == EPERM || err == EACCES)
        return !writer;

    return err == ENOENT || err == ENOTDIR || err == EOVERFLOW || virFileIsNotRegularErrno(err);
}


static void
virStorageTPMSidecarReportUnread(int err,
                                 const char *path,
                                 const char *name,
                                 const virStoragePoolDef *pool)
{
    struct stat sb;

    if (err == EPERM && g_lstat(path, &sb) == 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("description '%1$s' of TPM volume '%2$s' of pool '%3$s' belongs to user %4$u and has mode 0%5$o: change its owner to that of the pool's directory, and its mode so that others cannot write to it"),
                       path, name, pool->name, (unsigned int)sb.st_uid, sb.st_mode & 07777);
        return;
    }

    virReportSystemError(err,
                         _("cannot read description '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                         path, name, pool->name);
}


/* As virStorageTPMSidecarRead(), but a sidecar that has two descriptions keeps both.
 * Returns a virStorageTPMSidecarDescriptions, or -1 with an error reported. */
static int
virStorageTPMSidecarReadOnce(virStoragePoolDef *pool,
                             const char *name,
                             bool writer,
                             virStorageVolDef **def)
{
    g_autofree char *path = virStorageTPMNameSidecarPath(pool, name);
    g_autofree char *xml = virStorageTPMSidecarLoad(pool, path);
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    int rc = 0;

    g_clear_pointer(def, virStorageVolDefFree);

    if (!xml && !virStorageTPMSidecarIsLost(errno, writer)) {
        virStorageTPMSidecarReportUnread(errno, path, name, pool);
        return -1;
    }

    if (!xml) {
        VIR_WARN("TPM volume '%s' of pool '%s' has no description '%s' that can be used: %s",
                 name, pool->name, path, g_strerror(errno));
        return 0;
    }

    doc = virXMLParse(NULL, xml, _("(storage_volume_definition)"), "volume", &ctxt, NULL, false);

    if (doc && (rc = virStorageTPMSidecarFindDescription(pool, name, ctxt->node, &ctxt->node)) < 0)
        return -1;

    if (!doc || !(*def = virStorageVolDefParseXML(pool, ctxt, 0))) {
        VIR_WARN("description '%s' of TPM volume '%s' of pool '%s' is corrupt: %s",
                 path, name, pool->name, virGetLastErrorMessage());
        virResetLastError();
        return 0;
    }

    /* one that was copied by hand has the name of another volume, whose sidecar
     * must not be written in place of this one */
    g_free((*def)->name);
    (*def)->name = g_strdup(name);
    return rc;
}


/* Of two descriptions removes the one that does not hold, under the lock of the volume,
 * which may be the caller's. Returns 0 if that is done, or cannot be done here; 1 if
 * somebody else has the lock; -1 with an error reported. */
static int
virStorageTPMSidecarRemoveStale(virStoragePoolDef *pool,
                                const char *name,
                                int lock,
                                virStorageVolDef **def)
{
    g_autofree char *path = g_strdup_printf("%s/%s", pool->target.path, name);
    VIR_AUTOCLOSE own = -1;
    int rc;

    if (lock < 0 && (rc = virOFDLockOpen(path, 0, &own)) < 0)
        return rc == -EAGAIN ? 1 : 0;

    if ((rc = virStorageTPMSidecarReadOnce(pool, name, lock >= 0, def)) <= VIR_STORAGE_TPM_SIDECAR_ONE)
        return rc;

    return virStorageTPMSidecarReplace(pool, *def);
}


int
virStorageTPMSidecarRead(virStoragePoolDef *pool,
                         const char *name,
                         int lock,
                         virStorageVolDef **def)
{
    const gint64 until = g_get_monotonic_time() + VIR_STORAGE_TPM_SIDECAR_WAIT;
    const bool writer = lock >= 0;
    int rc;

    *def = NULL;

    while ((rc = virStorageTPMSidecarReadOnce(pool, name, writer, def)) > VIR_STORAGE_TPM_SIDECAR_ONE) {
        /* it holds for as long as the volume is not replaced */
        if (!writer && rc == VIR_STORAGE_TPM_SIDECAR_FORMER)
            return 0;

        if ((rc = virStorageTPMSidecarRemoveStale(pool, name, lock, def)) <= 0)
            return rc;

        /* Whoever replaced the volume is about to remove the former description. Nobody may
         * use the volume before: once a guest writes, it no longer tells that it was
         * replaced. */
        if (g_get_monotonic_time() > until) {
            virReportError(VIR_ERR_RESOURCE_BUSY,
                           _("TPM volume '%1$s' of pool '%2$s' is being replaced by an upload: try again"),
                           name, pool->name);
            return -1;
        }
    }

    return rc;
}


bool
virStorageTPMSidecarLock(const char *path,
                         int *fd)
{
    int rc = virOFDLockOpen(path, 0, fd);

    if (rc == 0 || virFileIsNotRegularErrno(-rc))
        return true;

    if (rc != -ENOENT)
        VIR_WARN("leaving file '%s' in place: it cannot be locked: %s", path, g_strerror(-rc));

    return false;
}


void
virStorageTPMSidecarUnlink(const char *path)
{
    if (unlink(path) < 0)
        VIR_WARN("cannot remove file '%s': %s", path, g_strerror(errno));
}


void
virStorageTPMSidecarRemoveOrphan(const virStoragePoolDef *pool,
                                 const virStorageVolDef *vol)
{
    g_autofree char *path = virStorageTPMNameSidecarPath(pool, vol->name);
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    if (!virStorageTPMSidecarLock(path, &fd))
        return;

    virFileRevalidateDir(path);
    if (g_lstat(vol->target.path, &sb) == 0 || errno != ENOENT)
        return;

    virStorageVolTPMUseRemove(vol->target.path);
    virStorageTPMSidecarUnlink(path);
    virStorageTPMDirSync(pool->target.path);
}


virStorageVolDef *
virStorageTPMSidecarNew(const char *name,
                        const virTPMState *state)
{
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);

    def->name = g_strdup(name);
    def->target.format = VIR_STORAGE_FILE_RAW;
    def->target.capacity = VIR_STORAGE_VOL_TPM_CAPACITY_DEFAULT;
    def->tpm = g_new0(virStorageVolTPMDef, 1);
    def->tpm->version = virStorageVolTPMVersionFromState(state->version);

    if (virUUIDGenerate(def->tpm->uuid) < 0)
        return NULL;
    def->tpm->hasuuid = true;

    return g_steal_pointer(&def);
}
