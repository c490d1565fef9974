/*
 * storage_tpm_temp.h: files that are made beside the one that they are to become
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a volume or sidecar becomes visible only when it is complete, and how the old
 * content of a volume is set aside to be overwritten.
 */

#pragma once

#include "storage_conf.h"
#include "storage_tpm_bytes.h"

typedef enum {
    VIR_STORAGE_TPM_CONTENT_NONE,
    VIR_STORAGE_TPM_CONTENT_STATE,
    VIR_STORAGE_TPM_CONTENT_BLANK, /* on purpose */
    VIR_STORAGE_TPM_CONTENT_SIDECAR,
} virStorageTPMContent;

/* A file that is being made beside the one that it is to become. */
typedef struct _virStorageTPMTemp virStorageTPMTemp;
struct _virStorageTPMTemp {
    char *path; /* the name that goes when this is freed; NULL: none */
    int fd;     /* holds the lock */
    virStorageTPMContent content;
};

/**
 * virStorageTPMTempNew:
 * @dir: the pool's directory
 * @name: name of the volume
 * @perms: owner and mode, -1 for the process's own and 0600
 *
 * Makes an empty temporary and locks it.
 *
 * Returns the temporary, or NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMTempNew(const char *dir,
                                        const char *name,
                                        const virStoragePerms *perms)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempFree:
 * @temp: a temporary, or NULL
 *
 * Removes the file unless it was published or is to be kept.
 */
void virStorageTPMTempFree(virStorageTPMTemp *temp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMTemp, virStorageTPMTempFree);

/**
 * virStorageTPMTempKeep:
 * @temp: a temporary
 *
 * Lets the file stay when the temporary is freed.
 */
void virStorageTPMTempKeep(virStorageTPMTemp *temp)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMTempWrite:
 * @temp: an empty temporary
 * @bytes: TPM state that virTPMStateToLinear() takes, or NULL for a blank volume
 *
 * Writes what a volume holds, always through virTPMStateToLinear(), with all its
 * blocks allocated. They are not written where they only hold zeros, if the file
 * system can allocate.
 *
 * Returns 0 once the bytes are on the disk, -1 with an error reported.
 */
int virStorageTPMTempWrite(virStorageTPMTemp *temp,
                           const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempWriteData:
 * @temp: an empty temporary
 * @data: @len bytes
 *
 * Writes what is no state, such as a sidecar.
 *
 * Returns 0 once the bytes are on the disk, -1 with an error reported.
 */
int virStorageTPMTempWriteData(virStorageTPMTemp *temp,
                               const void *data,
                               size_t len)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempPublish:
 * @temp: a complete temporary
 * @path: its final name, in the same directory
 *
 * Gives the file its final name, which must not exist. Its content is probed
 * before: only a whole linear file, or what was written as blank, is published.
 *
 * Returns 0 once the file has that name, -1 with an error reported and no file of
 * that name made; VIR_ERR_STORAGE_VOL_EXIST if there is one. That the name is not
 * on the disk yet is only logged.
 */
int virStorageTPMTempPublish(virStorageTPMTemp *temp,
                             const char *path)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempReplace:
 * @temp: a complete temporary
 * @path: the volume, in the same directory, whose lock the caller holds
 *
 * Puts the file in the place of the volume; whenever this is interrupted, one
 * of both is there. Its content is probed as by virStorageTPMTempPublish().
 *
 * Returns 0 once the file has that name, -1 with an error reported and the volume
 * as it was. That the name is not on the disk yet is only logged.
 */
int virStorageTPMTempReplace(virStorageTPMTemp *temp,
                             const char *path)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempNewReplacement:
 * @pool: definition of the pool
 * @vol: name and path of a volume of it
 * @lock: the volume, opened by virStorageVolTPMOpen()
 * @bytes: its new content, or NULL for none
 *
 * Writes another content of a volume, with its owner and mode, to a temporary that
 * virStorageTPMTempReplace() puts in the place of the volume.
 *
 * Returns the temporary, locked; once it is the volume, to be freed only after its sidecar was
 * replaced, for it holds the lock. NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMTempNewReplacement(const virStoragePoolDef *pool,
                                                   const virStorageVolDef *vol,
                                                   int lock,
                                                   const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempSetAside:
 * @pool: definition of the pool
 * @vol: name and path of a volume of it
 * @lock: the volume, opened by virStorageVolTPMOpen(); set to -1
 *
 * Gives a volume's file the name of a temporary too, so that it can be
 * overwritten after the volume is gone or another file is in its place. If that
 * is interrupted, virStorageTPMSweep() does it.
 *
 * Returns the temporary, or NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMTempSetAside(const virStoragePoolDef *pool,
                                             const virStorageVolDef *vol,
                                             int *lock)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempOverwrite:
 * @fd: descriptor of a file, open for writing
 *
 * Overwrites the file with zeros.
 *
 * Returns 0 once that is on the disk, -1 with errno set and no error reported.
 */
int virStorageTPMTempOverwrite(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempReportOld:
 * @err: an errno
 * @pool: definition of the pool
 * @name: name of a volume
 * @path: a temporary
 *
 * Reports that the old content of a volume could not be overwritten and is left.
 */
void virStorageTPMTempReportOld(int err,
                                const virStoragePoolDef *pool,
                                const char *name,
                                const char *path)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4);

/**
 * virStorageTPMTempRename:
 * @from: a file that the caller holds the lock of
 * @to: its new name, in the same directory
 *
 * Renames a file to a name that no file has.
 *
 * Returns 0 on success, -1 with errno set: EEXIST if a file has the name.
 */
int virStorageTPMTempRename(const char *from,
                            const char *to)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMTempReportExists:
 * @path: a volume
 *
 * Reports that a volume of that name exists: VIR_ERR_STORAGE_VOL_EXIST.
 */
void virStorageTPMTempReportExists(const char *path)
    ATTRIBUTE_NONNULL(1);
