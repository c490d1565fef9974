/*
 * qemu_tpm_path_lock.h: lock TPM state in a file of the user's choice
 *
 * For <source type='file'> of a TPM, where swtpm takes no lock itself.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "vircommand.h"

/**
 * qemuTPMPathIsLocked:
 * @path: a file, not a symbolic link
 *
 * Returns whether somebody has the lock of a volume, or that of qemuTPMPathLock(), or
 * keeps a lease on the file. QEMU locks other bytes of its disks.
 */
bool qemuTPMPathIsLocked(const char *path)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathLock:
 * @tpm: a TPM that is about to start
 * @incoming: whether the domain comes from another host
 * @fd: -1, or what an earlier call has set it to; set to a descriptor with the
 *      lock on the file that the TPM keeps its state in
 *
 * Makes sure that no other swtpm on this host uses the file. To be called before
 * swtpm_setup, which may replace the file. Nothing is done where the state is not
 * in a file, does not exist yet, or swtpm takes a lock itself; nor if @incoming, as
 * the other host's swtpm may still use the file.
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_RESOURCE_BUSY if the
 * file is in use.
 */
int qemuTPMPathLock(const virDomainTPMDef *tpm,
                    bool incoming,
                    int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathAddSwtpmLock:
 * @tpm, @incoming: as for qemuTPMPathLock()
 * @fd: what qemuTPMPathLock() has set it to; set to -1
 * @cmd: swtpm's command line
 *
 * Hands the lock over to swtpm. To be called after swtpm_setup: the lock is taken
 * anew if that has replaced the file.
 *
 * Returns 0 on success, -1 with an error reported, as qemuTPMPathLock() does.
 */
int qemuTPMPathAddSwtpmLock(const virDomainTPMDef *tpm,
                            bool incoming,
                            int *fd,
                            virCommand *cmd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMPathIsUsed:
 * @def: domain whose swtpm has ended, or did not start
 *
 * Tells whether another swtpm has the lock of qemuTPMPathLock() on the file that
 * the domain's TPM is in.
 *
 * Returns true if so.
 */
bool qemuTPMPathIsUsed(const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
