/*
 * qemu_tpm_volume.h: a domain's TPM that is on a storage volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "qemu_conf.h"
#include "vircommand.h"

/* A volume that this process has locked in order to start swtpm on it. */
typedef struct _qemuTPMVolume qemuTPMVolume;

void qemuTPMVolumeFree(qemuTPMVolume *volume);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(qemuTPMVolume, qemuTPMVolumeFree);

/**
 * qemuTPMVolumePrepareDomain:
 * @vm: domain that is about to start
 * @flags: bitwise-OR of qemuProcessStartFlags
 *
 * Asks the storage driver for the volumes that the domain's TPMs are on, and
 * fills in what the live definition says of them: path, version, identity.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumePrepareDomain(virDomainObj *vm,
                               unsigned int flags)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeOpen:
 * @driver: QEMU driver
 * @vm: domain that is about to start
 * @tpm: a TPM of the domain, backed by the emulator
 * @volume: the volume, or NULL if @tpm is not on one
 *
 * Takes the lock on the volume that @tpm is on, makes sure that it holds what
 * swtpm may be run on, and settles the TPM's version. The lock is gone when
 * @volume is freed, unless it was passed on.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeOpen(virQEMUDriver *driver,
                      virDomainObj *vm,
                      virDomainTPMDef *tpm,
                      qemuTPMVolume **volume)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(4) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumePass:
 * @driver: QEMU driver
 * @volume: an open volume, or NULL for nothing to do
 * @tpm: the TPM it belongs to
 * @cmd: command line of swtpm
 *
 * Gives the passphrase of an encrypted volume to swtpm, lets the account that
 * it runs as access the volume, and hands the lock over: swtpm then holds it
 * for as long as it lives.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumePass(virQEMUDriver *driver,
                      qemuTPMVolume *volume,
                      virDomainTPMDef *tpm,
                      virCommand *cmd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeReportStartError:
 * @vm: domain whose start has failed with an error reported
 *
 * If the reason was a TPM that is on a volume, replaces the error by one that
 * tells it: swtpm itself writes the reason to its log only.
 */
void qemuTPMVolumeReportStartError(virDomainObj *vm)
    ATTRIBUTE_NONNULL(1);
