/*
 * qemu_tpm_process.h: find and end swtpm processes
 *
 * For a domain whose swtpm is to be stopped, and for those that no domain uses.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "qemu_conf.h"

/**
 * qemuTPMProcessFind:
 * @pidfile: file with the process id of a swtpm, as virCommandSetPidFile()
 *           makes it
 * @sock: the socket that the swtpm was told to listen on
 * @pid: set to the process id on success
 *
 * Finds a running swtpm. QEMU's user may write where these files are, so that
 * their content is not used: the kernel tells which process has the lock on
 * @pidfile, and the arguments of that process tell whether it is the swtpm of
 * @sock. A process that forges both is only ended itself.
 *
 * Returns 0 on success, -1 without an error reported if there is no such
 * process.
 */
int qemuTPMProcessFind(const char *pidfile,
                       const char *sock,
                       pid_t *pid)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMProcessIsUsed:
 * @pidfile, @sock: as for qemuTPMProcessFind()
 *
 * Tells whether the swtpm has a connection on its socket: only QEMU makes one
 * that lasts.
 *
 * Returns 1 if so, 0 if not or if there is no such process, -1 without an error
 * reported if the kernel does not tell, in /proc.
 */
int qemuTPMProcessIsUsed(const char *pidfile,
                         const char *sock)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMProcessEnd:
 * @pidfile, @sock: as for qemuTPMProcessFind()
 *
 * Ends the swtpm, if it runs, and removes both files.
 */
void qemuTPMProcessEnd(const char *pidfile,
                       const char *sock)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * qemuTPMProcessEndLeftovers:
 * @driver: QEMU driver, which is about to start
 *
 * Ends each swtpm that was left by a daemon which was killed before it started QEMU.
 * A swtpm whose domain is known to run, or that QEMU is connected to, is left
 * alone: also where the domain's status could not be loaded.
 */
void qemuTPMProcessEndLeftovers(virQEMUDriver *driver)
    ATTRIBUTE_NONNULL(1);
