/*
 * storage_tpm_files.h: the files of a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <sys/stat.h>

#include "storage_conf.h"
#include "storage_vol_tpm.h"
#include "virofdlock.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

/**
 * virStorageTPMFileCopyPool:
 * @pool: definition of a tpm pool
 *
 * Returns what has to be known of the pool while it is unlocked, and may be changed
 * or gone: its type, name and path.
 */
virStoragePoolDef *virStorageTPMFileCopyPool(const virStoragePoolDef *pool)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/* The state of a TPM, as it stands in its volume. */
typedef struct _virStorageTPMBytes virStorageTPMBytes;
struct _virStorageTPMBytes {
    uint8_t *data;
    size_t len;
};

/**
 * virStorageTPMBytesFree:
 * @bytes: bytes, or NULL; they are overwritten
 */
void virStorageTPMBytesFree(virStorageTPMBytes *bytes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMBytes, virStorageTPMBytesFree);

/**
 * virStorageTPMBytesRead:
 * @fd: descriptor of a file or block device, open for reading
 * @path: its name, for error messages
 *
 * Reads all of it, from its beginning.
 *
 * Returns the bytes, or NULL with an error reported; also if there are more
 * than VIR_TPM_STATE_MAX_SIZE.
 */
virStorageTPMBytes *virStorageTPMBytesRead(int fd,
                                           const char *path)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesReadSome:
 * @fd, @path: as for virStorageTPMBytesRead()
 * @most: how many bytes at most, from the beginning
 *
 * As virStorageTPMBytesRead(), for a file whose end is of no interest.
 *
 * Returns the bytes, or NULL with an error reported; also if the file has more than
 * VIR_TPM_STATE_MAX_SIZE.
 */
virStorageTPMBytes *virStorageTPMBytesReadSome(int fd,
                                               const char *path,
                                               size_t most)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesToMemory:
 * @bytes: bytes, or NULL for none
 *
 * Returns a descriptor of memory that holds them, in which they can be read
 * and written as in a file; -1 with an error reported.
 */
int virStorageTPMBytesToMemory(const virStorageTPMBytes *bytes)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileFdPath:
 * @fd: descriptor
 *
 * Returns a path by which this process, and whatever it runs, reach the file
 * behind @fd as long as that is open, whatever its name stands for by then.
 */
char *virStorageTPMFileFdPath(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesSnapshot:
 * @path: a volume's file
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Reads a volume, also one that is in use: then it takes a copy that two
 * successive reads agree on and that is whole TPM state. Waits up to 5 seconds
 * for one.
 *
 * Returns the bytes, or NULL with an error reported; VIR_ERR_RESOURCE_BUSY if
 * the guest writes to its TPM all the time.
 */
virStorageTPMBytes *virStorageTPMBytesSnapshot(const char *path,
                                               const char *pool,
                                               const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/* In the directory of a tpm pool there are
 *
 *   NAME                 the volume: the state of one TPM
 *   NAME.tpm.xml         its sidecar: what the bytes do not tell
 *   .NAME.XXXXXX.tmptpm  a temporary: either of them while it is made;
 *                        whoever does that holds its lock
 *   .NAME.XXXXXX.oldtpm  a temporary: the old content of a volume until it is
 *                        overwritten; whoever does that holds its lock
 *
 * A volume or sidecar is visible only when it is complete. A name is given to a
 * file that is locked, and only if no file has it, or by whoever holds the lock
 * of the file that has it; it is taken away only under the lock of its file.
 */

/**
 * virStorageTPMFileSidecarVolume:
 * @name: name of a file in a pool's directory
 *
 * Returns the name of the volume if the file's name is that of a sidecar, else
 * NULL.
 */
char *virStorageTPMFileSidecarVolume(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileIsVolume:
 * @name: name of a file in a pool's directory
 *
 * Tells volumes from other files by name alone, for a pool of many volumes
 * has as many sidecars.
 *
 * Returns true if a volume may have that name. Warns in the log about names that are
 * neither a volume's nor one of libvirt's own.
 */
bool virStorageTPMFileIsVolume(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

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
 * virStorageTPMTempPublish:
 * @temp: a complete temporary
 * @path: its final name, in the same directory
 *
 * Gives the file its final name, which must not exist. Its content is probed
 * before: only a whole linear file, or what was written as blank, is published.
 *
 * Returns 0 once the file has that name, -1 with an error reported and no file of
 * that name made; VIR_ERR_STORAGE_VOL_EXIST if there is one. That the name is not
 * on the disk yet is but a warning in the log.
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
 * as it was. That the name is not on the disk yet is but a warning in the log.
 */
int virStorageTPMTempReplace(virStorageTPMTemp *temp,
                             const char *path)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileWriteNew:
 * @pool: definition of the pool
 * @vol: name and path of a volume of it
 * @lock: the volume, opened by virStorageVolTPMOpen()
 * @bytes: its new content, or NULL for none
 *
 * Writes another content of a volume, with its owner and mode, to a temporary that
 * virStorageTPMTempReplace() puts in the place of the volume.
 *
 * Returns the temporary, locked; once it is the volume, to be freed when the sidecar
 * fits it. NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMFileWriteNew(const virStoragePoolDef *pool,
                                             const virStorageVolDef *vol,
                                             int lock,
                                             const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileSetAside:
 * @pool: definition of the pool
 * @vol: name and path of a volume of it
 * @lock: the volume, opened by virStorageVolTPMOpen(); set to -1
 *
 * Gives a volume's file the name of a temporary too, so that it can be
 * overwritten after the volume is gone or another file is in its place. If that
 * is interrupted, virStorageTPMFileSweep() does it.
 *
 * Returns the temporary, or NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMFileSetAside(const virStoragePoolDef *pool,
                                             const virStorageVolDef *vol,
                                             int *lock)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileOverwrite:
 * @fd: descriptor of a file, open for writing
 *
 * Overwrites the file with zeros.
 *
 * Returns 0 once that is on the disk, -1 with errno set and no error reported.
 */
int virStorageTPMFileOverwrite(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileReportOld:
 * @err: an errno
 * @pool: definition of the pool
 * @name: name of a volume
 * @path: a temporary
 *
 * Reports that the old content of a volume could not be overwritten and is left.
 */
void virStorageTPMFileReportOld(int err,
                                const virStoragePoolDef *pool,
                                const char *name,
                                const char *path)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4);

/**
 * virStorageTPMFileRemove:
 * @pool: definition of the pool
 * @vol: a volume of it, whose lock the caller holds
 *
 * Removes a volume and then its sidecar: a crash in between leaves a sidecar
 * without a volume, which does no harm. The sidecar is locked before, so that
 * nobody makes a volume of that name in between; one that is locked already, or
 * cannot be removed, is left, with a warning in the log.
 *
 * Returns 0 on success, -1 with an error reported and both as they were.
 */
int virStorageTPMFileRemove(const virStoragePoolDef *pool,
                            const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMFileSweep:
 * @dir: the pool's directory
 * @name: name of a file in it
 *
 * Removes the file if it is a temporary that can be locked and still has that name
 * then: nobody is making it any more. What it holds of a TPM's state, or of a volume
 * that was being wiped, is overwritten; if that fails it stays, with a warning in the
 * log.
 */
void virStorageTPMFileSweep(const char *dir,
                            const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virStorageTPMFileSweepOld:
 * @pool: definition of the pool
 * @name: name of a volume
 *
 * Overwrites and removes what a failed or interrupted wipe or removal has left of
 * the old content of a volume of that name.
 *
 * Returns 0 if nothing is left, -1 with an error reported.
 */
int virStorageTPMFileSweepOld(const virStoragePoolDef *pool,
                              const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarPlace:
 * @pool: definition of the pool
 * @vol: a volume that is about to be published
 *
 * Writes the sidecar of a volume. It has the form of the volume's XML, but no
 * path, and of the secret only its uuid or usage. One that is there already
 * is replaced only if it has no volume and nobody is making one.
 *
 * Returns the sidecar, with its name and its lock, which keeps others from
 * making a volume of that name: to be kept with virStorageTPMTempKeep() once the
 * volume is there, and then freed; freed without that it is removed. NULL with an
 * error reported; VIR_ERR_STORAGE_VOL_EXIST if there is such a volume.
 */
virStorageTPMTemp *virStorageTPMSidecarPlace(virStoragePoolDef *pool,
                                             const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarReplace:
 * @pool: definition of the pool
 * @vol: a volume that is there, whose lock the caller holds
 *
 * Writes the sidecar of a volume, in place of the one that it has.
 *
 * Returns 0 once it is on the disk, -1 with an error reported and the old one
 * as it was.
 */
int virStorageTPMSidecarReplace(virStoragePoolDef *pool,
                                const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarAnnounce:
 * @pool: definition of the pool
 * @vol: a volume that is there, whose lock the caller holds
 * @next: how it is described once it is replaced
 * @file: what the caller is about to replace it with by virStorageTPMTempReplace()
 *
 * As virStorageTPMSidecarReplace(), with both descriptions: volume and sidecar are two
 * files, and whoever reads the sidecar takes that which fits what the volume holds.
 * To be followed by virStorageTPMSidecarReplace() once the volume is replaced.
 *
 * Returns 0 once it is on the disk, -1 with an error reported and the old one
 * as it was.
 */
int virStorageTPMSidecarAnnounce(virStoragePoolDef *pool,
                                 const virStorageVolDef *vol,
                                 const virStorageVolDef *next,
                                 const virStorageTPMTemp *file)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarRead:
 * @pool: definition of the pool
 * @name: name of a volume
 * @lock: descriptor that has the lock of the volume, if the caller is about to
 *        replace volume or sidecar; else -1
 * @def: set to what it tells, under the name of the volume
 *
 * Reads the sidecar of a volume. Only a regular file of the directory's owner
 * or the daemon's, of at most 64 KiB, is taken. If whoever replaced the volume was
 * interrupted before the sidecar was, that is done now.
 *
 * Returns 0 with @def set to its capacity, encryption and TPM, or to NULL if there
 * is none, or none that can be used; that is but a warning in the log. -1 with an
 * error reported if it cannot be read: then nothing is known of it. With @lock one that
 * has another owner, or that others can write to, is such an error as well, for it must
 * not be replaced: VIR_ERR_OPERATION_INVALID.
 */
int virStorageTPMSidecarRead(virStoragePoolDef *pool,
                             const char *name,
                             int lock,
                             virStorageVolDef **def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarDescribe:
 * @name: name of a volume
 * @state: what its bytes tell
 *
 * Describes a TPM of which nothing is known but its state: with a new identity.
 *
 * Returns the definition, or NULL with an error reported.
 */
virStorageVolDef *virStorageTPMSidecarDescribe(const char *name,
                                               const virTPMState *state)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarAdd:
 * @pool: definition of the pool
 * @name: name of a volume
 *
 * Gives a volume a sidecar with a new identity if it holds TPM state and has none:
 * never in place of another one, so that two hosts agree. Does nothing while the
 * volume is in use. The volume is locked while it is probed and while the sidecar is
 * given its name, but not while that is written to the disk.
 *
 * Returns 0 on success, also if nothing was done; -1 with an error reported.
 */
int virStorageTPMSidecarAdd(virStoragePoolDef *pool,
                            const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarRemoveOrphan:
 * @pool: definition of the pool
 * @vol: name and path of a volume that is not there
 *
 * Removes the sidecar if it has no volume, and nobody is making one. A sidecar
 * without a volume does no harm, so that a failure is but a warning in the log.
 */
void virStorageTPMSidecarRemoveOrphan(const virStoragePoolDef *pool,
                                      const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
