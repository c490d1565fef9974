/*
 * storage_tpm_transfer.c: upload and download of TPM volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_files.h"
#include "storage_tpm_transfer.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfdstream.h"
#include "virfile.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


int
virStorageTPMDownload(const char *pool,
                      const virStorageVolDef *vol,
                      virStreamPtr stream,
                      unsigned long long offset,
                      unsigned long long len,
                      bool sparse)
{
    g_autofree char *path = NULL;
    struct stat sb;
    VIR_AUTOCLOSE fd = virStorageTPMFileOpen(vol->target.path, &sb);

    if (fd < 0) {
        virReportSystemError(errno, _("cannot open TPM volume '%1$s' of pool '%2$s'"),
                             vol->name, pool);
        return -1;
    }

    /* what is larger is not TPM state, but can be looked at */
    if (sb.st_size <= VIR_TPM_STATE_MAX_SIZE) {
        g_autoptr(virStorageTPMBytes) bytes = NULL;

        VIR_FORCE_CLOSE(fd);
        if (!(bytes = virStorageTPMBytesSnapshot(vol->target.path, pool, vol->name)) ||
            (fd = virStorageTPMBytesToMemory(bytes)) < 0)
            return -1;
    }

    path = virStorageTPMFileFdPath(fd);
    return virFDStreamOpenBlockDevice(stream, path, offset, len, sparse, O_RDONLY);
}


/* An upload, until its stream ends. */
typedef struct _virStorageTPMUploadData virStorageTPMUploadData;
struct _virStorageTPMUploadData {
    virStoragePoolDef *pool;
    virStorageVolDef *vol;
    int memory; /* what has come */
};


static void
virStorageTPMUploadDataFree(virStorageTPMUploadData *upload)
{
    if (!upload)
        return;

    virStoragePoolDefFree(upload->pool);
    virStorageVolDefFree(upload->vol);
    VIR_FORCE_CLOSE(upload->memory);
    g_free(upload);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMUploadData, virStorageTPMUploadDataFree);


/* The pool may be changed or gone when the stream is finished. */
static virStorageTPMUploadData *
virStorageTPMUploadDataNew(const virStoragePoolDef *pool,
                           const virStorageVolDef *vol)
{
    virStorageTPMUploadData *upload = g_new0(virStorageTPMUploadData, 1);

    upload->pool = g_new0(virStoragePoolDef, 1);
    upload->pool->type = VIR_STORAGE_POOL_TPM;
    upload->pool->name = g_strdup(pool->name);
    upload->pool->target.path = g_strdup(pool->target.path);

    upload->vol = g_new0(virStorageVolDef, 1);
    upload->vol->name = g_strdup(vol->name);
    upload->vol->target.path = g_strdup(vol->target.path);

    upload->memory = virStorageTPMBytesToMemory(NULL);
    return upload;
}


static void
virStorageTPMUploadReportForeign(const virStorageTPMUploadData *upload,
                                 virTPMStateKind kind)
{
    const char *pool = upload->pool->name;
    const char *vol = upload->vol->name;

    switch (kind) {
    case VIR_TPM_STATE_BLANK:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: what was uploaded is blank; vol-wipe makes a volume blank"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_LINEAR:
    case VIR_TPM_STATE_DAMAGED:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: the TPM state that was uploaded is truncated or inconsistent"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_BLOB:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: what was uploaded is not the permanent state of a TPM, but its volatile state"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_QCOW2:
    case VIR_TPM_STATE_LUKS:
    case VIR_TPM_STATE_UNKNOWN:
    case VIR_TPM_STATE_LAST:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: what was uploaded is not TPM state but looks '%3$s'"),
                       vol, pool, virTPMStateKindTypeToString(kind));
        return;
    }
}


/* What was uploaded, as it is to stand in the volume. */
static virStorageTPMBytes *
virStorageTPMUploadTake(const virStorageTPMUploadData *upload,
                        virTPMState *state)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);

    if (!(bytes = virStorageTPMBytesRead(upload->memory, upload->vol->name)))
        return NULL;

    virTPMStateProbeBytes(bytes->data, bytes->len, state);

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len))) {
        virStorageTPMUploadReportForeign(upload, state->kind);
        return NULL;
    }

    if (virTPMStateRequireCipher(state, upload->vol->name) < 0)
        return NULL;

    return g_steal_pointer(&linear);
}


/* Whether state is expected to be encrypted is told by what is there, or else
 * by the sidecar. */
static int
virStorageTPMUploadCheckEncryption(const virStorageTPMUploadData *upload,
                                   const virTPMState *state,
                                   const virTPMState *old,
                                   const virStorageVolDef *sidecar)
{
    bool encrypted;

    if (old->kind == VIR_TPM_STATE_LINEAR)
        encrypted = old->encrypted;
    else if (sidecar)
        encrypted = sidecar->target.encryption;
    else
        return 0;

    if (encrypted == state->encrypted)
        return 0;

    if (encrypted)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: it is encrypted, and what was uploaded is not; upload it to a volume without encryption, and convert that with vol-create-from"),
                       upload->vol->name, upload->pool->name);
    else
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: it is not encrypted, and what was uploaded is; upload it to a volume with that encryption, and convert that with vol-create-from"),
                       upload->vol->name, upload->pool->name);
    return -1;
}


/* Settles who the TPM is: @fresh is set to another description, if the volume
 * needs one. */
static int
virStorageTPMUploadCheckIdentity(const virStorageTPMUploadData *upload,
                                 const virStorageTPMBytes *bytes,
                                 const virTPMState *state,
                                 const virTPMState *old,
                                 virStorageVolDef *sidecar,
                                 virStorageVolDef **fresh)
{
    bool known = sidecar && sidecar->tpm;

    if (known && (state->encrypted ||
                  virStorageTPMEndorsementIsOf(sidecar->tpm, bytes->data, bytes->len)))
        return 0;

    if (known && old->kind == VIR_TPM_STATE_BLANK) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' stays as it was: it was made for another TPM, whose certificates are not in what was uploaded; upload that to a volume of its own"),
                       upload->vol->name, upload->pool->name);
        return -1;
    }

    if (!(*fresh = virStorageTPMSidecarDescribe(upload->vol->name, state)))
        return -1;

    if (known) {
        (*fresh)->target.capacity = sidecar->target.capacity;
        (*fresh)->target.encryption = g_steal_pointer(&sidecar->target.encryption);
    }

    return 0;
}


/* A wipe that was interrupted has left the certificates of the TPM that it has
 * wiped: they must not become those of what is uploaded. */
static int
virStorageTPMUploadFinishWipe(virStoragePoolDef *pool,
                              const virTPMState *old,
                              virStorageVolDef *sidecar)
{
    if (old->kind != VIR_TPM_STATE_BLANK || !sidecar || !sidecar->tpm ||
        !virStorageVolTPMDefClearLost(sidecar->tpm))
        return 0;

    return virStorageTPMSidecarReplace(pool, sidecar);
}


/* The stream has ended well. Runs in the daemon's event loop: starts no program. */
static int
virStorageTPMUploadFinish(virStreamPtr stream G_GNUC_UNUSED,
                          void *opaque)
{
    virStorageTPMUploadData *upload = opaque;
    virStoragePoolDef *pool = upload->pool;
    virStorageVolDef *vol = upload->vol;
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autoptr(virStorageVolDef) sidecar = NULL;
    g_autoptr(virStorageVolDef) fresh = NULL;
    g_autoptr(virStorageTPMTemp) now = NULL;
    virTPMState state;
    virTPMState old;
    VIR_AUTOCLOSE lock = -1;

    if (!(bytes = virStorageTPMUploadTake(upload, &state)) ||
        (lock = virTPMStateOpen(vol->target.path, pool->name, vol->name)) < 0 ||
        virTPMStateProbe(lock, vol->target.path, &old) < 0)
        return -1;

    sidecar = virStorageTPMSidecarRead(pool, vol->name);

    if (virStorageTPMUploadFinishWipe(pool, &old, sidecar) < 0 ||
        virStorageTPMUploadCheckEncryption(upload, &state, &old, sidecar) < 0 ||
        virStorageTPMUploadCheckIdentity(upload, bytes, &state, &old, sidecar, &fresh) < 0)
        return -1;

    if (fresh)
        now = virStorageTPMFileReplaceBoth(pool, vol, lock, bytes, fresh);
    else
        now = virStorageTPMFileReplace(pool, vol, lock, bytes);

    return now ? 0 : -1;
}


static void
virStorageTPMUploadRelease(void *opaque)
{
    virStorageTPMUploadDataFree(opaque);
}


int
virStorageTPMUpload(const virStoragePoolDef *pool,
                    const virStorageVolDef *vol,
                    virStreamPtr stream,
                    unsigned long long offset,
                    unsigned long long len,
                    bool sparse)
{
    g_autoptr(virStorageTPMUploadData) upload = NULL;
    g_autofree char *path = NULL;
    VIR_AUTOCLOSE lock = -1;

    if (offset != 0 || len > VIR_TPM_STATE_MAX_SIZE) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("TPM volume '%1$s' of pool '%2$s' can only be uploaded whole: from offset 0, at most %3$llu bytes"),
                       vol->name, pool->name, VIR_TPM_STATE_MAX_SIZE);
        return -1;
    }

    /* a volume that is in use is better refused now than when all has come */
    if ((lock = virTPMStateOpen(vol->target.path, pool->name, vol->name)) < 0)
        return -1;

    upload = virStorageTPMUploadDataNew(pool, vol);
    if (upload->memory < 0)
        return -1;

    path = virStorageTPMFileFdPath(upload->memory);
    if (virFDStreamOpenBlockDevice(stream, path, 0, len ? len : VIR_TPM_STATE_MAX_SIZE,
                                   sparse, O_WRONLY) < 0 ||
        virFDStreamSetFinishCb(stream, virStorageTPMUploadFinish,
                               upload, virStorageTPMUploadRelease) < 0)
        return -1;

    upload = NULL; /* the stream's */
    return 0;
}
