/*
 * storage_tpm_copy.c: make TPM state from another volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The copy is the same TPM as its source: a TPM volume, or a file or block device of
 * another pool that holds state of swtpm. Whatever differs in encryption is converted by
 * libvirt_tpmhelper in memory, and the result is opened before it becomes a volume.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_copy.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_helper.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_verify.h"
#include "storage_vol_tpm.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


void
virStorageTPMCopySetSource(virStorageVolDef *origvol,
                           const char *pool)
{
    if (!origvol->tpm)
        origvol->tpm = g_new0(virStorageVolTPMDef, 1);

    origvol->target.srcpool = g_new0(virStorageSourcePoolDef, 1);
    origvol->target.srcpool->pool = g_strdup(pool);
    origvol->target.srcpool->volume = g_strdup(origvol->name);
}


/* The description of the source was read before its bytes: both are of one TPM unless it
 * has another identity by now. */
static int
virStorageTPMCopyCheckIdentity(const virStorageVolDef *origvol)
{
    g_autofree char *dir = g_path_get_dirname(origvol->target.path);
    virStoragePoolDef pool = {
        .name = origvol->target.srcpool->pool,
        .type = VIR_STORAGE_POOL_TPM,
        .target.path = dir,
    };
    g_autoptr(virStorageVolDef) now = NULL;
    const virStorageVolTPMDef *before = origvol->tpm;

    if (virStorageTPMSidecarRead(&pool, origvol->name, -1, &now) < 0)
        return -1;

    if (!before->hasuuid || !now || !now->tpm || !now->tpm->hasuuid ||
        memcmp(now->tpm->uuid, before->uuid, sizeof(before->uuid)) == 0)
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("TPM volume '%1$s' of pool '%2$s' was replaced by another while it was copied: try again"),
                   origvol->name, pool.name);
    return -1;
}


static virStorageTPMBytes *
virStorageTPMCopyReadVolume(const virStorageVolDef *origvol,
                            virTPMState *state)
{
    const char *pool = origvol->target.srcpool->pool;
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    bool secret = virStorageVolTPMGetSecret(origvol->target.encryption);

    if (!(bytes = virStorageTPMVerifyRead(pool, origvol, secret, state)) ||
        virStorageTPMCopyCheckIdentity(origvol) < 0 ||
        virStorageVolTPMCheckState(state, pool, origvol->name) < 0)
        return NULL;

    return g_steal_pointer(&bytes);
}


/* Reads a file or block device of another pool. Symbolic links are followed, as
 * that pool follows them. */
static virStorageTPMBytes *
virStorageTPMCopyReadForeign(const char *path)
{
    VIR_AUTOCLOSE fd = virFileOpenNoWait(path, O_RDONLY);
    struct stat sb;

    if (fd < 0 || fstat(fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot open '%1$s'"), path);
        return NULL;
    }

    if (!S_ISREG(sb.st_mode) && !S_ISBLK(sb.st_mode)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot import '%1$s' as a TPM volume, as it is neither a regular file nor a block device"),
                       path);
        return NULL;
    }

    return virStorageTPMBytesRead(fd, path);
}


/* The path of a volume of an rbd, gluster or iscsi-direct pool is no path of this
 * host, though a file may have that name. */
static int
virStorageTPMCopyCheckLocal(const virStorageVolDef *vol,
                            const virStorageVolDef *origvol)
{
    if ((origvol->type == VIR_STORAGE_VOL_FILE ||
         origvol->type == VIR_STORAGE_VOL_BLOCK) &&
        g_path_is_absolute(origvol->target.path))
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("cannot import '%1$s' as TPM volume '%2$s', as it is of type '%3$s' and not a file or block device of this host: copy it to a pool of type 'dir' first"),
                   origvol->target.path, vol->name,
                   virStorageVolTypeToString(origvol->type));
    return -1;
}


static virStorageTPMBytes *
virStorageTPMCopyImport(const virStorageVolDef *vol,
                        const virStorageVolDef *origvol,
                        virTPMState *state)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);

    if (virStorageTPMCopyCheckLocal(vol, origvol) < 0 ||
        !(bytes = virStorageTPMCopyReadForeign(origvol->target.path)))
        return NULL;

    virTPMStateProbeBytes(bytes->data, bytes->len, state);

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len))) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot import '%1$s' as TPM volume '%2$s', as its content is '%3$s' and not permanent TPM state"),
                       origvol->target.path, vol->name,
                       virTPMStateKindTypeToString(state->kind));
        return NULL;
    }

    if (virStorageVolTPMCheckCipher(state, origvol->target.path) < 0)
        return NULL;

    if (state->encrypted && !vol->target.encryption) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM state in '%1$s' is encrypted, but TPM volume '%2$s' has no secret: give it the secret of the state in <encryption format='vtpm'>"),
                       origvol->target.path, vol->name);
        return NULL;
    }

    return g_steal_pointer(&linear);
}


/* A copy is described as its source is. */
static void
virStorageTPMCopyDescription(virStorageVolTPMDef *tpm,
                             const virStorageVolTPMDef *source)
{
    g_autoptr(virStorageVolTPMDef) copy = virStorageVolTPMDefCopy(source);

    if (copy->hasuuid) {
        memcpy(tpm->uuid, copy->uuid, sizeof(tpm->uuid));
        tpm->hasuuid = true;
    }

    virStorageTPMEndorsementMove(tpm, copy);
}


/* Adds what the TPM has told to what was known. */
static int
virStorageTPMCopyLearn(virStorageVolDef *vol,
                       const virStorageVolDef *origvol,
                       virStorageVolTPMDef *found)
{
    virStorageVolTPMDef *tpm = vol->tpm;

    if (tpm->nendorsements == 0)
        virStorageTPMEndorsementMove(tpm, found);

    if (!tpm->activePcrBanks) {
        tpm->activePcrBanks = g_steal_pointer(&found->activePcrBanks);
        return 0;
    }

    if (origvol->target.srcpool || !found->activePcrBanks ||
        virBitmapEqual(tpm->activePcrBanks, found->activePcrBanks))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("active PCR banks of TPM volume '%1$s' cannot differ from those of the imported TPM"),
                   vol->name);
    return -1;
}


static int
virStorageTPMCopySetVersion(virStorageVolDef *vol,
                            const char *origname,
                            virDomainTPMVersion version)
{
    if (version == VIR_DOMAIN_TPM_VERSION_DEFAULT)
        return 0;

    if (vol->tpm->version != VIR_DOMAIN_TPM_VERSION_DEFAULT &&
        vol->tpm->version != version) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' cannot have version %2$s, as '%3$s' holds a TPM of version %4$s"),
                       vol->name, virDomainTPMVersionTypeToString(vol->tpm->version),
                       origname, virDomainTPMVersionTypeToString(version));
        return -1;
    }

    vol->tpm->version = version;
    return 0;
}


int
virStorageTPMCopyParameters(virStorageVolDef *vol,
                            const virStorageVolDef *origvol)
{
    virStorageVolTPMDef *tpm = vol->tpm;
    const virStorageVolTPMDef *source = origvol->tpm;

    if (virStorageTPMCopySetVersion(vol, origvol->name, source->version) < 0)
        return -1;

    if (tpm->activePcrBanks && source->activePcrBanks &&
        !virBitmapEqual(tpm->activePcrBanks, source->activePcrBanks)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("active PCR banks of TPM volume '%1$s' cannot differ from those of '%2$s'"),
                       vol->name, origvol->name);
        return -1;
    }

    if (tpm->profile.source && STRNEQ_NULLABLE(tpm->profile.source, source->profile.source)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("profile of TPM volume '%1$s' cannot differ from that of '%2$s'"),
                       vol->name, origvol->name);
        return -1;
    }

    if (!tpm->activePcrBanks && source->activePcrBanks)
        tpm->activePcrBanks = virBitmapNewCopy(source->activePcrBanks);

    g_free(tpm->profile.source);
    tpm->profile.source = g_strdup(source->profile.source);
    tpm->profile.removeDisabled = source->profile.removeDisabled;
    return 0;
}


/* Reads the source, and fills in @from: the pool and volume that errors name, and
 * the secret and version that the source is opened with. */
static virStorageTPMBytes *
virStorageTPMCopyReadSource(virStorageVolDef *vol,
                            const virStorageVolDef *origvol,
                            virStorageTPMHelperSpec *from)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTPMState state;

    if (origvol->target.srcpool) {
        bytes = virStorageTPMCopyReadVolume(origvol, &state);
        from->pool = origvol->target.srcpool->pool;
        from->vol = origvol->name;
        from->secret = virStorageVolTPMGetSecret(origvol->target.encryption);
    } else {
        bytes = virStorageTPMCopyImport(vol, origvol, &state);
    }

    if (!bytes)
        return NULL;

    if (!origvol->target.srcpool && state.encrypted)
        from->secret = virStorageVolTPMGetSecret(vol->target.encryption);

    if (virStorageTPMCopySetVersion(vol, origvol->name,
                                    virStorageVolTPMVersionFromState(state.version)) < 0 ||
        (origvol->target.srcpool && virStorageTPMCopyParameters(vol, origvol) < 0))
        return NULL;

    vol->tpm->version = virStorageVolTPMVersionOrDefault(vol->tpm->version);
    from->version = vol->tpm->version;

    return g_steal_pointer(&bytes);
}


virStorageTPMBytes *
virStorageTPMCopy(const virStoragePoolDef *pool,
                  virStorageVolDef *vol,
                  const virStorageVolDef *origvol)
{
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virStorageTPMHelperSpec from = { .pool = pool->name, .vol = vol->name };
    virStorageTPMHelperSpec to = { .pool = pool->name, .vol = vol->name };

    if (!(bytes = virStorageTPMCopyReadSource(vol, origvol, &from)))
        return NULL;

    if (origvol->target.srcpool)
        virStorageTPMCopyDescription(vol->tpm, origvol->tpm);

    to.version = from.version;
    to.secret = virStorageVolTPMGetSecret(vol->target.encryption);

    if (!virStorageVolTPMSecretIsSame(from.secret, to.secret)) {
        g_autoptr(virStorageTPMBytes) source = g_steal_pointer(&bytes);

        if (!(bytes = virStorageTPMHelperConvert(&from, &to, source)))
            return NULL;
    } else {
        /* it is the source's bytes that are opened */
        to.pool = from.pool;
        to.vol = from.vol;
    }

    if (virStorageTPMHelperInspect(&to, bytes, found) < 0 ||
        virStorageTPMVerifyEndorsements(vol->tpm, found, from.pool, from.vol, NULL) < 0 ||
        virStorageTPMCopyLearn(vol, origvol, found) < 0)
        return NULL;

    return g_steal_pointer(&bytes);
}
