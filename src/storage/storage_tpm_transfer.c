/*
 * storage_tpm_transfer.c: upload and download of TPM volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An upload is collected in memory. When its stream has ended a worker locks the volume,
 * has the state opened by libvirt_tpmhelper, decides whether it is the TPM that the volume
 * is described as, and replaces the volume whole; whatever fails before leaves it as it
 * was. Of two uploads to one volume the second to finish waits for the first. A download
 * gives a copy of one moment, also of a volume that is in use.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_dir.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_helper.h"
#include "storage_tpm_sidecar.h"
#include "storage_tpm_store.h"
#include "storage_tpm_transfer.h"
#include "storage_tpm_verify.h"
#include "storage_vol_tpm.h"
#include "virerror.h"
#include "virfdstream.h"
#include "virfile.h"
#include "virofdlock.h"
#include "virthread.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

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
    VIR_AUTOCLOSE fd = virStorageVolTPMOpenFile(vol->target.path, O_RDONLY, &sb);

    if (fd < 0) {
        virStorageVolTPMReportOpen(errno, vol->target.path, pool, vol->name);
        return -1;
    }

    /* what is larger is not TPM state, but can be looked at */
    if (sb.st_size <= VIR_TPM_STATE_MAX_SIZE) {
        g_autoptr(virStorageTPMBytes) bytes = NULL;

        VIR_FORCE_CLOSE(fd);
        if (!(bytes = virStorageTPMStoreFor(vol)->read(vol->target.path, pool, vol->name)) ||
            (fd = virStorageTPMBytesToMemory(bytes)) < 0)
            return -1;
    }

    path = virStorageTPMBytesFdPath(fd);
    return virFDStreamOpenBlockDevice(stream, path, offset, len, sparse, O_RDONLY);
}


/* An upload, until its stream ends. */
typedef struct _virStorageTPMUploadData virStorageTPMUploadData;
struct _virStorageTPMUploadData {
    virStoragePoolDef *pool;
    virStorageVolDef *vol;
    int memory; /* what has come */

    /* which TPM volume it is for; under the mutex */
    bool hasuuid;
    unsigned char uuid[VIR_UUID_BUFLEN];
    bool deleted;

    int before; /* the volume's file when the upload began, if the identity was not
                   known: while it is open no other file gets its inode */

    /* from here on only when all has come */
    virStorageTPMBytes *bytes;   /* the same as a linear file */
    virTPMState state;           /* what they are */
    virStorageVolTPMDef *found;  /* what the TPM tells when it is opened */
    virStorageTPMBytes *clear;   /* or holds, if it is of version 1.2 */

    int lock;                    /* the volume, locked */
    virTPMState old;             /* what is in it */
    virStorageVolDef *sidecar;   /* how it is described; NULL if it is not */
    virStorageVolDef *fresh;     /* how it is to be described; NULL if as before */
};


/* The paths of the volumes that are being replaced by uploads of this process.
 * Of two uploads to one volume the second to finish waits for the first, instead
 * of being told that the volume is in use. */
static GHashTable *virStorageTPMUploadPaths;
static virMutex virStorageTPMUploadMutex = VIR_MUTEX_INITIALIZER;
static virCond virStorageTPMUploadCond;

/* The uploads whose stream has not ended; under the mutex. */
static GPtrArray *virStorageTPMUploads;

static int
virStorageTPMUploadPathsOnceInit(void)
{
    if (virCondInit(&virStorageTPMUploadCond) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize condition variable"));
        return -1;
    }

    virStorageTPMUploadPaths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    virStorageTPMUploads = g_ptr_array_new();
    return 0;
}

VIR_ONCE_GLOBAL_INIT(virStorageTPMUploadPaths);


static void
virStorageTPMUploadDataFree(virStorageTPMUploadData *upload)
{
    if (!upload)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMUploadMutex) {
        g_ptr_array_remove(virStorageTPMUploads, upload);
    }

    virStoragePoolDefFree(upload->pool);
    virStorageVolDefFree(upload->vol);
    VIR_FORCE_CLOSE(upload->memory);
    VIR_FORCE_CLOSE(upload->before);
    virStorageTPMBytesFree(upload->bytes);
    virStorageVolTPMDefFree(upload->found);
    virStorageTPMBytesFree(upload->clear);
    VIR_FORCE_CLOSE(upload->lock);
    virStorageVolDefFree(upload->sidecar);
    virStorageVolDefFree(upload->fresh);
    g_free(upload);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMUploadData, virStorageTPMUploadDataFree);


/* The pool may be changed or gone when the stream is finished. */
static virStorageTPMUploadData *
virStorageTPMUploadDataNew(const virStoragePoolDef *pool,
                           const virStorageVolDef *vol)
{
    virStorageTPMUploadData *upload = g_new0(virStorageTPMUploadData, 1);

    upload->pool = virStorageTPMDirCopyLocation(pool);

    upload->vol = g_new0(virStorageVolDef, 1);
    upload->vol->name = g_strdup(vol->name);
    upload->vol->target.path = g_strdup(vol->target.path);

    upload->found = g_new0(virStorageVolTPMDef, 1);
    upload->lock = -1;
    upload->before = -1;
    upload->memory = virStorageTPMBytesToMemory(NULL);

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMUploadMutex) {
        g_ptr_array_add(virStorageTPMUploads, upload);
    }

    return upload;
}


/* Remembers which volume has the name when the upload begins, by its identity, or by its
 * file if it has none. */
static int
virStorageTPMUploadRememberVolume(virStorageTPMUploadData *upload,
                                  int lock)
{
    g_autoptr(virStorageVolDef) sidecar = NULL;
    const char *path = upload->vol->target.path;

    if (virStorageTPMSidecarRead(upload->pool, upload->vol->name, lock, &sidecar) < 0)
        return -1;

    if (!sidecar || !sidecar->tpm || !sidecar->tpm->hasuuid) {
        upload->before = virStorageVolTPMOpenToRead(path, upload->pool->name,
                                                    upload->vol->name);
        return upload->before < 0 ? -1 : 0;
    }

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMUploadMutex) {
        /* unless another upload has just told it */
        if (!upload->hasuuid)
            memcpy(upload->uuid, sidecar->tpm->uuid, sizeof(upload->uuid));
        upload->hasuuid = true;
    }

    return 0;
}


/* A volume of that name that was created since is another one, and keeps its state. */
static int
virStorageTPMUploadCheckVolume(const virStorageTPMUploadData *upload)
{
    const virStorageVolTPMDef *tpm = upload->sidecar ? upload->sidecar->tpm : NULL;
    bool replaced = false;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMUploadMutex) {
        replaced = upload->deleted ||
                   (upload->hasuuid && tpm && tpm->hasuuid &&
                    memcmp(upload->uuid, tpm->uuid, sizeof(upload->uuid)) != 0) ||
                   (!upload->hasuuid && upload->before >= 0 &&
                    !virOFDLockNameRefersTo(upload->before, upload->vol->target.path));
    }

    if (!replaced)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("TPM volume '%1$s' of pool '%2$s' was replaced by another during the upload: upload it again"),
                   upload->vol->name, upload->pool->name);
    return -1;
}


/* Tells the uploads to a volume that have not ended which identity it has got from one
 * of them: it is no other volume. If @uuid is NULL it was deleted. */
static void
virStorageTPMUploadNoteIdentity(const char *path,
                                const unsigned char *uuid)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMUploadMutex);
    size_t i;

    for (i = 0; virStorageTPMUploads && i < virStorageTPMUploads->len; i++) {
        virStorageTPMUploadData *upload = g_ptr_array_index(virStorageTPMUploads, i);

        if (STRNEQ(upload->vol->target.path, path))
            continue;

        if (!uuid) {
            upload->deleted = true;
            continue;
        }

        memcpy(upload->uuid, uuid, sizeof(upload->uuid));
        upload->hasuuid = true;
    }
}


void
virStorageTPMUploadNotePool(const virStoragePoolDef *pool)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMUploadMutex);
    size_t i;

    for (i = 0; virStorageTPMUploads && i < virStorageTPMUploads->len; i++) {
        virStorageTPMUploadData *upload = g_ptr_array_index(virStorageTPMUploads, i);

        if (STREQ(upload->pool->name, pool->name) &&
            STRNEQ(upload->pool->target.path, pool->target.path))
            upload->deleted = true;
    }
}


void
virStorageTPMUploadNoteDeleted(const char *path)
{
    virStorageTPMUploadNoteIdentity(path, NULL);
}


static void
virStorageTPMUploadLockPath(const char *path)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMUploadMutex);

    while (g_hash_table_contains(virStorageTPMUploadPaths, path))
        ignore_value(virCondWait(&virStorageTPMUploadCond, &virStorageTPMUploadMutex));

    g_hash_table_add(virStorageTPMUploadPaths, g_strdup(path));
}


static void
virStorageTPMUploadUnlockPath(const char *path)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMUploadMutex);

    g_hash_table_remove(virStorageTPMUploadPaths, path);
    virCondBroadcast(&virStorageTPMUploadCond);
}


static bool
virStorageTPMUploadIsPathLocked(const char *path)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&virStorageTPMUploadMutex);

    return g_hash_table_contains(virStorageTPMUploadPaths, path);
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
                       _("cannot upload blank content to TPM volume '%1$s' of pool '%2$s': use vol-wipe to make it blank"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_LINEAR:
    case VIR_TPM_STATE_DAMAGED:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload truncated or inconsistent TPM state to TPM volume '%1$s' of pool '%2$s'"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_BLOB:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload volatile TPM state to TPM volume '%1$s' of pool '%2$s': upload the permanent state"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_QCOW2:
    case VIR_TPM_STATE_LUKS:
    case VIR_TPM_STATE_UNKNOWN:
    case VIR_TPM_STATE_LAST:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload content of type '%3$s' to TPM volume '%1$s' of pool '%2$s': upload the state of a TPM"),
                       vol, pool, virTPMStateKindTypeToString(kind));
        return;
    }
}


/* What was uploaded, as it is to stand in the volume. */
static int
virStorageTPMUploadConvert(virStorageTPMUploadData *upload)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;

    if (!(bytes = virStorageTPMBytesRead(upload->memory, upload->vol->name)))
        return -1;

    virTPMStateProbeBytes(bytes->data, bytes->len, &upload->state);

    upload->bytes = g_new0(virStorageTPMBytes, 1);
    upload->bytes->data = virTPMStateToLinear(bytes->data, bytes->len, &upload->bytes->len);
    if (upload->bytes->data)
        return 0;

    virStorageTPMUploadReportForeign(upload, upload->state.kind);
    return -1;
}


/* Locks the volume, and looks at what is in it and how it is described. */
static int
virStorageTPMUploadLockVolume(virStorageTPMUploadData *upload)
{
    virStoragePoolDef *pool = upload->pool;
    virStorageVolDef *vol = upload->vol;

    if ((upload->lock = virStorageTPMStoreFor(vol)->open(vol->target.path, pool->name,
                                                         vol->name)) < 0 ||
        virTPMStateProbe(upload->lock, vol->target.path, &upload->old) < 0 ||
        virStorageTPMSidecarRead(pool, vol->name, upload->lock, &upload->sidecar) < 0)
        return -1;

    if (virStorageTPMUploadCheckVolume(upload) < 0)
        return -1;

    if (upload->sidecar && !upload->sidecar->tpm)
        upload->sidecar->tpm = g_new0(virStorageVolTPMDef, 1);

    /* A wipe that was interrupted has left the certificates of the TPM that it
     * has wiped: they must not become those of what is uploaded. */
    if (upload->old.kind == VIR_TPM_STATE_BLANK && upload->sidecar &&
        virStorageVolTPMDefClearLost(upload->sidecar->tpm))
        return virStorageTPMSidecarReplace(pool, upload->sidecar);

    return 0;
}


/* Whether state is expected to be encrypted is told by what is there, or else
 * by the sidecar. */
static int
virStorageTPMUploadCheckEncryption(const virStorageTPMUploadData *upload)
{
    bool encrypted;

    if (upload->old.kind == VIR_TPM_STATE_LINEAR)
        encrypted = upload->old.encrypted;
    else if (upload->sidecar)
        encrypted = upload->sidecar->target.encryption;
    else
        return 0;

    if (encrypted == upload->state.encrypted)
        return 0;

    if (encrypted)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload clear TPM state to TPM volume '%1$s' of pool '%2$s', which is encrypted: upload it to a volume without encryption, and convert that with vol-create-from"),
                       upload->vol->name, upload->pool->name);
    else
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload encrypted TPM state to TPM volume '%1$s' of pool '%2$s', which is not encrypted: upload it to a volume with that encryption, and convert that with vol-create-from"),
                       upload->vol->name, upload->pool->name);
    return -1;
}


/* Only clear state tells its version. */
static virDomainTPMVersion
virStorageTPMUploadVersion(const virStorageTPMUploadData *upload,
                           const virTPMState *state)
{
    virDomainTPMVersion version = virStorageVolTPMVersionFromState(state->version);

    if (version == VIR_DOMAIN_TPM_VERSION_DEFAULT && upload->sidecar)
        version = upload->sidecar->tpm->version;

    return virStorageVolTPMVersionOrDefault(version);
}


/* Opens a state as that of the volume, with the volume's secret. */
static int
virStorageTPMUploadInspect(const virStorageTPMUploadData *upload,
                           const virStorageTPMBytes *bytes,
                           const virTPMState *state,
                           virStorageVolTPMDef *found,
                           virStorageTPMBytes **clear)
{
    /* as of a volume whose sidecar is lost */
    virSecretLookupTypeDef bypath = {
        .type = VIR_SECRET_LOOKUP_TYPE_USAGE,
        .u.usage = upload->vol->target.path,
    };
    virStorageTPMHelperSpec spec = {
        .pool = upload->pool->name,
        .vol = upload->vol->name,
        .version = virStorageTPMUploadVersion(upload, state),
    };

    if (state->encrypted && upload->sidecar)
        spec.secret = virStorageVolTPMGetSecret(upload->sidecar->target.encryption);
    if (state->encrypted && !spec.secret)
        spec.secret = &bypath;

    if (!clear || spec.version == VIR_DOMAIN_TPM_VERSION_2_0)
        return virStorageTPMHelperInspect(&spec, bytes, found);

    /* one of version 1.2 tells nothing, but has its certificates in its state */
    return (*clear = virStorageTPMHelperDecrypt(&spec, bytes)) ? 0 : -1;
}


static int
virStorageTPMUploadOpen(virStorageTPMUploadData *upload)
{
    if (virStorageVolTPMCheckCipher(&upload->state, upload->vol->name) == 0 &&
        virStorageTPMUploadInspect(upload, upload->bytes, &upload->state,
                                   upload->found, &upload->clear) == 0)
        return 0;

    virLastErrorPrefixMessage(_("cannot open the TPM state that was uploaded to TPM volume '%1$s' of pool '%2$s'"),
                              upload->vol->name, upload->pool->name);
    return -1;
}


/* Whether what was uploaded is the TPM that the volume is known to be, or to be
 * made for; ABSENT if that is not known. */
static virTristateBool
virStorageTPMUploadIsSame(const virStorageTPMUploadData *upload)
{
    const virStorageVolTPMDef *described = upload->sidecar->tpm;
    g_autoptr(virStorageVolTPMDef) before = g_new0(virStorageVolTPMDef, 1);
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTristateBool same;

    if (described->nendorsements > 0) {
        if (upload->clear)
            same = virStorageTPMEndorsementMatchState(described, upload->clear->data,
                                                      upload->clear->len);
        else
            same = virStorageTPMVerifyIsSame(described, upload->found, NULL, NULL);

        return virTristateBoolFromBool(same == VIR_TRISTATE_BOOL_YES);
    }

    if (upload->old.kind != VIR_TPM_STATE_LINEAR)
        return VIR_TRISTATE_BOOL_ABSENT;

    if (virStorageTPMUploadVersion(upload, &upload->old) !=
        virStorageTPMUploadVersion(upload, &upload->state))
        return VIR_TRISTATE_BOOL_NO;

    /* what the description does not tell, the old state does */
    if (!(bytes = virStorageTPMBytesRead(upload->lock, upload->vol->target.path)) ||
        virStorageTPMUploadInspect(upload, bytes, &upload->old, before, NULL) < 0) {
        virResetLastError();
        return VIR_TRISTATE_BOOL_ABSENT;
    }

    return virStorageTPMVerifyIsSame(before, upload->found, NULL, NULL);
}


/* The description of the TPM that was uploaded, with the identity of the volume if
 * that is to be kept. */
static virStorageVolDef *
virStorageTPMUploadNewDescription(virStorageTPMUploadData *upload,
                                  bool keep)
{
    g_autoptr(virStorageVolDef) def = virStorageTPMSidecarNew(upload->vol->name, &upload->state);
    const virStorageVolDef *sidecar = upload->sidecar;

    if (!def)
        return NULL;

    def->tpm->version = virStorageTPMUploadVersion(upload, &upload->state);
    def->tpm->activePcrBanks = g_steal_pointer(&upload->found->activePcrBanks);
    virStorageTPMEndorsementMove(def->tpm, upload->found);

    if (sidecar)
        def->target.capacity = sidecar->target.capacity;
    if (sidecar && sidecar->target.encryption)
        def->target.encryption = virStorageEncryptionCopy(sidecar->target.encryption);

    if (keep) {
        memcpy(def->tpm->uuid, sidecar->tpm->uuid, sizeof(def->tpm->uuid));
        def->tpm->profile.source = g_strdup(sidecar->tpm->profile.source);
        def->tpm->profile.removeDisabled = sidecar->tpm->profile.removeDisabled;
    }

    return g_steal_pointer(&def);
}


/* Decides whether the volume keeps its identity: makes a new description if it needs
 * one. */
static int
virStorageTPMUploadCheckIdentity(virStorageTPMUploadData *upload)
{
    const virStorageVolTPMDef *described = upload->sidecar ? upload->sidecar->tpm : NULL;
    virTristateBool same = VIR_TRISTATE_BOOL_ABSENT;

    if (described)
        same = virStorageTPMUploadIsSame(upload);

    if (same == VIR_TRISTATE_BOOL_YES && described->nendorsements > 0 && described->hasuuid)
        return 0;

    if (same == VIR_TRISTATE_BOOL_NO && upload->old.kind == VIR_TPM_STATE_BLANK) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("cannot upload another TPM than the one that TPM volume '%1$s' of pool '%2$s' was created for: upload it to a volume of its own"),
                       upload->vol->name, upload->pool->name);
        return -1;
    }

    upload->fresh = virStorageTPMUploadNewDescription(upload, described && described->hasuuid &&
                                                      same != VIR_TRISTATE_BOOL_NO);
    return upload->fresh ? 0 : -1;
}


/* The volume is what was uploaded. */
static void
virStorageTPMUploadReplaced(void *opaque)
{
    const virStorageTPMUploadData *upload = opaque;
    const virStorageVolDef *now = upload->fresh ? upload->fresh : upload->sidecar;

    virStorageTPMUploadNoteIdentity(upload->vol->target.path, now->tpm->uuid);
}


static int
virStorageTPMUploadReplace(virStorageTPMUploadData *upload)
{
    if (virStorageTPMUploadLockVolume(upload) < 0 ||
        virStorageTPMUploadCheckEncryption(upload) < 0 ||
        virStorageTPMUploadOpen(upload) < 0 ||
        virStorageTPMUploadCheckIdentity(upload) < 0)
        return -1;

    return virStorageTPMStoreFor(upload->vol)->replace(upload->pool, upload->vol, upload->lock,
                                                       upload->bytes, upload->sidecar,
                                                       upload->fresh,
                                                       virStorageTPMUploadReplaced, upload);
}


/* The stream has ended well. Runs in a worker, not in the event loop: it opens
 * the TPM and waits for the disk. */
static int
virStorageTPMUploadFinish(virStreamPtr stream G_GNUC_UNUSED,
                          void *opaque)
{
    virStorageTPMUploadData *upload = opaque;
    int ret;

    if (virStorageTPMUploadConvert(upload) < 0)
        return -1;

    virStorageTPMUploadLockPath(upload->vol->target.path);
    ret = virStorageTPMUploadReplace(upload);
    VIR_FORCE_CLOSE(upload->lock);
    virStorageTPMUploadUnlockPath(upload->vol->target.path);

    return ret;
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
                       _("cannot upload to a part of TPM volume '%1$s' of pool '%2$s': upload at most %3$llu bytes from offset 0"),
                       vol->name, pool->name, VIR_TPM_STATE_MAX_SIZE);
        return -1;
    }

    if (virStorageTPMUploadPathsInitialize() < 0)
        return -1;

    /* a volume that is in use is better refused now than when all has come */
    if (!virStorageTPMUploadIsPathLocked(vol->target.path) &&
        (lock = virStorageTPMStoreFor(vol)->open(vol->target.path, pool->name, vol->name)) < 0)
        return -1;

    upload = virStorageTPMUploadDataNew(pool, vol);
    if (upload->memory < 0 ||
        virStorageTPMUploadRememberVolume(upload, lock) < 0)
        return -1;

    path = virStorageTPMBytesFdPath(upload->memory);
    if (virFDStreamOpenBlockDevice(stream, path, 0, len ? len : VIR_TPM_STATE_MAX_SIZE,
                                   sparse, O_WRONLY) < 0 ||
        virFDStreamSetFinishCb(stream, virStorageTPMUploadFinish,
                               upload, virStorageTPMUploadRelease) < 0)
        return -1;

    upload = NULL; /* the stream's */
    return 0;
}
