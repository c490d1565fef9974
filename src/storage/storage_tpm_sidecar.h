/*
 * storage_tpm_sidecar.h: the description of a TPM volume, in a file beside it
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sidecars are read, written, replaced and removed here. storage_tpm_sidecar.c tells in
 * which order that is done with their volumes.
 */

#pragma once

#include "storage_tpm_temp.h"
#include "virtpmstate.h"

/**
 * virStorageTPMSidecarWrite:
 * @pool: definition of the pool
 * @vol: how the volume is described
 * @next: how it is described once it holds what is in @file, or NULL
 * @file: what it is to be replaced with, or NULL
 *
 * Writes a sidecar, as yet without its name.
 *
 * Returns the temporary, locked, once it is on the disk; NULL with an error reported.
 */
virStorageTPMTemp *virStorageTPMSidecarWrite(virStoragePoolDef *pool,
                                             const virStorageVolDef *vol,
                                             const virStorageVolDef *next,
                                             const virStorageTPMTemp *file)
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
 * is none, or none that can be used; that is only logged. -1 with an
 * error reported if it cannot be read: then nothing is known of it. With @lock one that
 * has another owner, or that others can write to, is such an error as well, for it must
 * not be replaced: VIR_ERR_OPERATION_INVALID. Waits for up to a second while somebody
 * replaces the volume: VIR_ERR_RESOURCE_BUSY if that takes longer.
 */
int virStorageTPMSidecarRead(virStoragePoolDef *pool,
                             const char *name,
                             int lock,
                             virStorageVolDef **def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarNew:
 * @name: name of a volume
 * @state: what its bytes tell
 *
 * Describes a TPM of which nothing is known but its state: with a new identity.
 *
 * Returns the definition, or NULL with an error reported.
 */
virStorageVolDef *virStorageTPMSidecarNew(const char *name,
                                          const virTPMState *state)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarLock:
 * @path: path of a sidecar, see virStorageTPMNameSidecarPath()
 * @fd: -1; set to a descriptor that has the lock, if there is a sidecar
 *
 * Takes the lock of a sidecar, so that nobody makes a volume of that name meanwhile.
 *
 * Returns whether the sidecar may be removed: it is locked, or none that a volume could
 * be made with. If it is in use or cannot be locked, that is a warning in the log.
 */
bool virStorageTPMSidecarLock(const char *path,
                              int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSidecarUnlink:
 * @path: path of a sidecar that virStorageTPMSidecarLock() lets be removed
 *
 * Removes the sidecar. Without its volume it does no harm, so that a failure is but a
 * warning in the log.
 */
void virStorageTPMSidecarUnlink(const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageTPMSidecarRemoveOrphan:
 * @pool: definition of the pool
 * @vol: name and path of a volume that is not there
 *
 * Removes the sidecar if it has no volume, and nobody is making one. A sidecar
 * without a volume does no harm, so that a failure is only logged.
 */
void virStorageTPMSidecarRemoveOrphan(const virStoragePoolDef *pool,
                                      const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
