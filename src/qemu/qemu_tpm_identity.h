/*
 * qemu_tpm_identity.h: keep two copies of one TPM from running on a host
 *
 * A lock for each TPM that is on a storage volume and runs, beside that of the volume.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "qemu_conf.h"

/**
 * qemuTPMIdentityLock:
 * @emulator: emulated TPM on a volume, whose identity is known
 * @cfg: configuration of the driver
 *
 * Takes the lock that stands for the identity of the TPM.
 *
 * Returns a descriptor that has the lock, to be inherited by swtpm; -1 with an error
 * reported: VIR_ERR_RESOURCE_BUSY if a copy of the volume is in use.
 */
int qemuTPMIdentityLock(const virDomainTPMEmulatorDef *emulator,
                        const virQEMUDriverConfig *cfg)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMIdentityRemoveFiles:
 * @driver: QEMU driver
 * @def: definition of a domain whose swtpm has ended
 *
 * Removes the files whose locks stood for the identities of the domain's TPMs.
 */
void qemuTPMIdentityRemoveFiles(virQEMUDriver *driver,
                                const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * qemuTPMIdentitySweep:
 * @driver: QEMU driver that has ended the swtpms that no domain uses, and starts
 *          nothing yet
 *
 * Removes the files whose locks stood for the identities of their TPMs.
 */
void qemuTPMIdentitySweep(virQEMUDriver *driver)
    ATTRIBUTE_NONNULL(1);
