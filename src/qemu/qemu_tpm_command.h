/*
 * qemu_tpm_command.h: command line of swtpm
 *
 * The parts that are the same for a storage volume and for state that libvirt has made.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "qemu_conf.h"
#include "vircommand.h"

/**
 * qemuTPMCommandNew:
 * @tpm: an emulated TPM, its version and the path of its socket known
 * @cfg: configuration of the driver
 * @logfd: descriptor of swtpm's log; set to -1, as it then belongs to the command
 *
 * Returns what every swtpm is started with, which does not tell it yet where the state
 * is; NULL with an error reported if there is no swtpm.
 */
virCommand *qemuTPMCommandNew(const virDomainTPMDef *tpm,
                              const virQEMUDriverConfig *cfg,
                              int *logfd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMCommandAddState:
 * @cmd: command line of swtpm
 * @emulator: emulated TPM, the path of its state known
 * @lock: whether swtpm locks the state itself
 */
void qemuTPMCommandAddState(virCommand *cmd,
                            const virDomainTPMEmulatorDef *emulator,
                            bool lock)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * qemuTPMCommandAddKeys:
 * @cmd: command line of swtpm
 * @key: descriptor that the command inherits, with the passphrase of the state
 * @migration: the same for what goes into a migration stream or a saved image
 */
void qemuTPMCommandAddKeys(virCommand *cmd,
                           int key,
                           int migration)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMCommandAddMigration:
 * @cmd: command line of a swtpm that locks the state itself
 * @incoming: whether the other host still has the lock
 *
 * Lets the lock be handed over in a migration to another host that sees the state.
 */
void qemuTPMCommandAddMigration(virCommand *cmd,
                                bool incoming)
    ATTRIBUTE_NONNULL(1);
