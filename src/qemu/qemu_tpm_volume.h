/*
 * qemu_tpm_volume.h: a domain's TPM that is on a storage volume
 *
 * What the QEMU driver calls when a domain starts, is saved, migrated or reverted, and
 * stops. See qemu_tpm_volumepriv.h for the parts behind it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "qemu_conf.h"
#include "qemu_tpm_identity.h"
#include "snapshot_conf.h"
#include "vircommand.h"

/**
 * qemuTPMVolumeCheckPolicy:
 * @driver: QEMU driver
 * @def: domain that is about to start
 *
 * Makes sure that the domain has no emulated TPM but on a volume, if the driver's
 * configuration requires that.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeCheckPolicy(virQEMUDriver *driver,
                             const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumePrepareDomain:
 * @def: definition of a domain that is about to start
 * @boots: whether it starts afresh; else its memory is restored, from this host
 *         or another, and with it the TPM
 *
 * Asks the storage driver for the volumes that the domain's TPMs are on, and
 * fills in what the live definition says of them: path, format, encryption, version,
 * identity. A TPM that is restored needs the volume with its identity.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumePrepareDomain(virDomainDef *def,
                               bool boots)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumePrepareSwtpm:
 * @driver: QEMU driver
 * @vm: domain that is about to start
 * @tpm: its TPM on a volume
 * @incoming: whether the domain comes from another host
 * @logfd: descriptor of swtpm's log; set to -1 if it is taken over
 *
 * Locks the volume, makes sure that it holds what swtpm may be run on, allocates its
 * blocks, gives it to swtpm's user, and sets the TPM's version. swtpm inherits the lock,
 * and so holds it for as long as it lives.
 *
 * Returns swtpm's command line, which has the locks until swtpm is started or the command
 * is freed; NULL with an error reported.
 */
virCommand *qemuTPMVolumePrepareSwtpm(virQEMUDriver *driver,
                                      virDomainObj *vm,
                                      virDomainTPMDef *tpm,
                                      bool incoming,
                                      int *logfd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(5) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeCheckSnapshot:
 * @vm: domain
 * @snapdef: snapshot that is about to be made of it
 * @internal: whether the snapshot is in the domain's disks
 *
 * Refuses an internal snapshot of a domain that is off, which would leave out its TPM on
 * a raw volume. Other snapshots leave it out, too, unless they include the guest's
 * memory: that is logged.
 *
 * Returns 0 if the snapshot can be made, -1 with an error reported.
 */
int qemuTPMVolumeCheckSnapshot(virDomainObj *vm,
                               const virDomainSnapshotDef *snapdef,
                               bool internal)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeCheckRevert:
 * @vm: domain
 * @snapdef: snapshot that it is to be reverted to
 * @flags: bitwise-OR of virDomainSnapshotRevertFlags
 *
 * Checks, before anything is stopped or changed, that the domain could be
 * started then, and that its TPM volumes do not stay behind: a snapshot without
 * memory does not include them, and is reverted to only by force.
 *
 * Returns 0 if so, -1 with an error reported; VIR_ERR_SNAPSHOT_REVERT_RISKY
 * where VIR_DOMAIN_SNAPSHOT_REVERT_FORCE would help.
 */
int qemuTPMVolumeCheckRevert(virDomainObj *vm,
                             const virDomainSnapshotDef *snapdef,
                             unsigned int flags)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeCheckMigration:
 * @driver: the driver
 * @vm: a running guest that is to go to another host
 *
 * A guest whose volume is on a shared file system can only go if its swtpm hands the
 * lock over.
 *
 * Returns 0 if it can, -1 with VIR_ERR_OPERATION_UNSUPPORTED reported.
 */
int qemuTPMVolumeCheckMigration(virQEMUDriver *driver,
                                virDomainObj *vm)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeCheckResume:
 * @def: a paused guest that is about to run
 *
 * A swtpm that has given its lock up for a while takes it again when the guest runs, and
 * then writes its state. A server such as that of NFS may have given the lock of the
 * volume's users, which it has meanwhile, to another host.
 *
 * Returns 0 if the guest may run, -1 with VIR_ERR_OPERATION_INVALID reported.
 */
int qemuTPMVolumeCheckResume(const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumePrepareMigration:
 * @def: a running guest that is to be migrated, saved, dumped, or in a snapshot
 *
 * To be called before QEMU reads the state of a guest: swtpm writes what QEMU asks for
 * to the volume, so that there must be room, see virStorageVolTPMReserve().
 *
 * Returns 0 if the guest's TPM is on no volume, or can be read, -1 with an error
 * reported: VIR_ERR_SYSTEM_ERROR if there is no room.
 */
int qemuTPMVolumePrepareMigration(const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeGetEncryption:
 * @def: definition of a running domain
 *
 * Returns whether the domain's TPM, if it is on a volume, is encrypted wherever
 * its state goes; VIR_TRISTATE_BOOL_ABSENT if that is not known.
 */
virTristateBool qemuTPMVolumeGetEncryption(const virDomainDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeSetEncryption:
 * @def: definition of a domain that comes from another host
 * @encrypted: what qemuTPMVolumeGetEncryption() returned there
 *
 * Lets qemuTPMVolumePrepareSwtpm() refuse a volume that cannot take the TPM.
 */
void qemuTPMVolumeSetEncryption(virDomainDef *def,
                                virTristateBool encrypted)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeFormatEncryption:
 * @buf: output, inside a migration cookie or a TPM's private data
 * @encrypted: what qemuTPMVolumeGetEncryption() returns
 */
void qemuTPMVolumeFormatEncryption(virBuffer *buf,
                                   virTristateBool encrypted)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeParseEncryption:
 * @ctxt: XPath context, its node is that of the cookie or private data
 * @encrypted: set to what qemuTPMVolumeFormatEncryption() was given
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeParseEncryption(xmlXPathContextPtr ctxt,
                                 virTristateBool *encrypted)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeLockUnused:
 * @def: domain whose swtpm has ended, or did not start
 * @fd: -1; set to a descriptor with the lock on the volume, if there is one: to
 *      be closed when the label is restored
 *
 * Takes the lock of the domain's volume if nobody has it: the label of a volume that
 * another guest runs on, or begins to meanwhile, must stay.
 *
 * Returns true if the label can be restored, or if the domain's TPM is not on a volume.
 */
bool qemuTPMVolumeLockUnused(const virDomainDef *def,
                             int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeRestoreLabels:
 * @driver: QEMU driver
 * @vm: domain whose swtpm has ended, or did not start
 * @state: whether to restore the label of the TPM's state, too
 * @lockMetadataException: as for qemuSecurityRestoreTPMLabels()
 *
 * Restores the labels of what the domain's TPM, on a volume or not, has used; that
 * of its state only if no other guest uses it. Removes what stood for the identity of
 * a TPM on a volume.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeRestoreLabels(virQEMUDriver *driver,
                               virDomainObj *vm,
                               bool state,
                               bool lockMetadataException)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * qemuTPMVolumeReportStartError:
 * @vm: domain whose start has failed with an error reported
 *
 * If the reason was a TPM that is on a volume, replaces the error by one that
 * tells it: swtpm itself writes the reason to its log only. Serves for a domain
 * that was to come from another host, too.
 */
void qemuTPMVolumeReportStartError(virDomainObj *vm)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeExplainError:
 * @vm: domain that was to come from another host
 * @error: why its QEMU has ended; consumed
 *
 * Returns what qemuTPMVolumeReportStartError() makes of @error.
 */
virErrorPtr qemuTPMVolumeExplainError(virDomainObj *vm,
                                      virErrorPtr error)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
