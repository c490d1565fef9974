/*
 * qemu_tpm_path.h: keep domains from volumes of tpm pools that are named by a path
 *
 * What the QEMU driver asks before it opens, labels or removes a file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"

/**
 * qemuTPMPathCheckDomain:
 * @def: domain that is about to start
 *
 * Makes sure that nothing in the domain is named by a path to a volume of a
 * storage pool of type 'tpm': neither its TPM, nor a disk, character device,
 * shared directory, firmware file, or whatever else QEMU opens, or the security
 * drivers give to its user. The path may be another name of the volume: a
 * symbolic or hard link, or a bind mount. To be called before anything is changed
 * for the domain: to end a domain removes files such as its sockets.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMPathCheckDomain(virDomainDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathCheckDevice:
 * @def: domain
 * @dev: device that is about to be attached to it
 *
 * Does for a device what qemuTPMPathCheckDomain() does for all of a domain.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMPathCheckDevice(const virDomainDef *def,
                           virDomainDeviceDef *dev)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathCheckSource:
 * @src: storage that a domain is about to use
 * @chain: whether to look at its backing files, too
 *
 * Makes sure that the storage is no volume of a storage pool of type 'tpm', nor
 * the description of one, as qemuTPMPathCheckDomain() does. A file that is
 * neither TPM state nor described as a volume is not one, wherever it is.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMPathCheckSource(const virStorageSource *src,
                           bool chain)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathCheckOpen:
 * @path: file that is about to be opened
 * @oflags: how, as for open()
 *
 * Makes sure that the file is not opened for writing if it is what
 * qemuTPMPathCheckSource() refuses.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMPathCheckOpen(const char *path,
                         int oflags)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathCheckPool:
 * @pool: storage pool that a disk is about to be created in
 * @disk: the disk's name there
 *
 * Makes sure that the pool is not of type 'tpm', where each volume is a TPM.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMPathCheckPool(virStoragePoolPtr pool,
                         const char *disk)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathHoldsVolume:
 * @path: file that is about to be removed, or NULL
 *
 * Tells whether the file has to stay: it is what qemuTPMPathCheckSource() refuses,
 * has a volume's description beside it, or its lock is held. The last two need no
 * pool: a volume whose pool is not defined any more may be in use. Logs the reason.
 *
 * Returns true if so.
 */
bool qemuTPMPathHoldsVolume(const char *path);

/**
 * qemuTPMPathRemove:
 * @path: a file that libvirt has made for a domain
 *
 * Removes a file, unless qemuTPMPathHoldsVolume() tells that a volume is in its place:
 * then the log says so.
 *
 * Returns 0 on success, -1 with errno set otherwise: EPERM if it has to stay.
 */
int qemuTPMPathRemove(const char *path)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathIsVolume:
 * @tpm: a TPM whose state is about to be removed
 *
 * Tells whether the state, in a file or directory of the user's choice, is a volume
 * of a storage pool of type 'tpm', or in the directory of one, or has one below it:
 * only the storage driver deletes those. What is described as a volume or locked, or
 * has such a file below it, may be one whose pool is not known. Logs the reason.
 *
 * Returns true if so.
 */
bool qemuTPMPathIsVolume(const virDomainTPMDef *tpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
