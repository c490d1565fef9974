/*
 * qemu_tpm_volumepriv.h: what the parts of qemu_tpm_volume share
 *
 * A volume is looked up (qemu_tpm_volume_resolve.c), locked and handed to swtpm
 * (qemu_tpm_volume.c; qemu_tpm_volume_file.c for a volume that is a file), and its
 * identity is locked (qemu_tpm_identity.c). If swtpm or QEMU then fails,
 * qemu_tpm_volume_error.c tells why. Whether a domain may start without a volume is decided
 * in qemu_tpm_volume_policy.c, which snapshots are made and reverted to in
 * qemu_tpm_volume_snapshot.c.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
# error "qemu_tpm_volumepriv.h may only be included by qemu_tpm_volume*.c or test suites"
#endif /* LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW */

#pragma once

#include "qemu_tpm_volume.h"
#include "virtpmstate.h"

typedef struct _qemuTPMVolumeOps qemuTPMVolumeOps;

/* A volume that this process has locked in order to start swtpm on it. */
typedef struct _qemuTPMVolume qemuTPMVolume;
struct _qemuTPMVolume {
    const qemuTPMVolumeOps *ops;
    virDomainTPMDef *tpm; /* the TPM that is on the volume */
    int fd;               /* the volume's file, with its lock unless it is elsewhere */
    int usefd;            /* the lock of the volume's users, if swtpm locks; else -1 */
    int identityfd;       /* the lock on the TPM's identity; -1 if that is not known */
    bool encrypted;       /* whether swtpm needs the passphrase */
    bool incoming;        /* the state comes in a migration stream */
    bool shared;          /* hosts share the file system that the volume is on */
    bool swtpmLocks;      /* swtpm takes its own lock, which it can hand over to another host */
    bool elsewhere;       /* the swtpm of another host uses the volume, and hands it over later */
};

/* What is done with a volume of one kind while a domain starts, in this order, while it
 * runs, and when it has stopped. A container such as LUKS is a further kind: its
 * openAndLock() exports the state, and sets where swtpm finds it. */
struct _qemuTPMVolumeOps {
    /**
     * openAndLock:
     * @volume: a volume that has been looked up
     * @cfg: configuration of the driver
     *
     * Opens the volume and takes its lock, unless another host hands it over later.
     *
     * Returns 0 on success, -1 with an error reported.
     */
    int (*openAndLock)(qemuTPMVolume *volume,
                       const virQEMUDriverConfig *cfg);

    /**
     * checkContent:
     * @volume: an open volume
     * @state: set to what is on it
     *
     * Makes sure that the volume holds what swtpm may be run on, and sets
     * volume->encrypted. Nothing is changed.
     *
     * Returns 0 on success, -1 with an error reported.
     */
    int (*checkContent)(qemuTPMVolume *volume,
                        virTPMState *state);

    /**
     * allocateState:
     * @volume: a volume that was checked
     *
     * Reserves what swtpm may write, as a full file system must not destroy the TPM
     * of a running guest.
     *
     * Returns 0 on success, -1 with an error reported.
     */
    int (*allocateState)(qemuTPMVolume *volume);

    /**
     * handToSwtpm:
     * @volume: a volume that was checked
     * @cfg: configuration of the driver
     * @privileged: whether swtpm runs as another user than this process
     * @cmd: swtpm's command line
     *
     * Lets swtpm access the state, and lets it inherit the lock: swtpm then holds it
     * for as long as it lives.
     *
     * Returns 0 on success, -1 with an error reported.
     */
    int (*handToSwtpm)(qemuTPMVolume *volume,
                       const virQEMUDriverConfig *cfg,
                       bool privileged,
                       virCommand *cmd);

    /**
     * reserveVolatile:
     * @src: the volume of a running domain
     *
     * Reserves what swtpm writes when QEMU reads the TPM, to save or migrate it.
     *
     * Returns 0 on success, -1 with an error reported.
     */
    int (*reserveVolatile)(const virStorageSource *src);

    /**
     * lockUnused:
     * @src: a volume whose swtpm has ended, or did not start
     * @fd: -1; set to a descriptor with the lock on the volume, if there is one
     *
     * Takes the lock if nobody has it, so that the label of the volume can be restored
     * before another guest starts on it.
     *
     * Returns true if nobody uses the volume, nor can until @fd is closed.
     */
    bool (*lockUnused)(const virStorageSource *src,
                       int *fd);
};

/* A volume that is a file, whose bytes are the state. */
extern const qemuTPMVolumeOps qemuTPMVolumeFileOps;

/**
 * qemuTPMVolumeGetOps:
 * @src: a volume, its format and encryption known
 *
 * Returns what is done with volumes of its kind; NULL with an error reported if that
 * is not supported.
 */
const qemuTPMVolumeOps *qemuTPMVolumeGetOps(const virStorageSource *src)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeNew:
 * @tpm: a TPM on a volume that has been looked up
 * @incoming: whether the state comes in a migration stream
 *
 * Returns the volume, which is not open yet; NULL with an error reported.
 */
qemuTPMVolume *qemuTPMVolumeNew(virDomainTPMDef *tpm,
                                bool incoming)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeFree:
 * @volume: a volume, or NULL
 *
 * Gives up the locks that were not handed over, and frees it.
 */
void qemuTPMVolumeFree(qemuTPMVolume *volume);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(qemuTPMVolume, qemuTPMVolumeFree);

/**
 * qemuTPMVolumeOpenAndLock:
 * @driver: QEMU driver
 * @vm: domain that is about to start
 * @tpm: its TPM on a volume
 * @incoming: whether the domain comes from another host
 *
 * Takes the locks on the volume and on its identity, makes sure that the volume
 * holds what swtpm may be run on, and sets the TPM's version. Asks the storage driver
 * once more, so that it is the volume that was looked up; allocates its blocks; and
 * remembers where swtpm's log ends. A volume on a shared file system that the other
 * host still uses is not locked: its swtpm hands over a lock of its own.
 *
 * Returns the volume, or NULL with an error reported. Its locks are gone when it is
 * freed, unless they were handed over to swtpm.
 */
qemuTPMVolume *qemuTPMVolumeOpenAndLock(virQEMUDriver *driver,
                                        virDomainObj *vm,
                                        virDomainTPMDef *tpm,
                                        bool incoming)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeHandToSwtpm:
 * @driver: QEMU driver
 * @volume: an open volume
 * @cmd: command line of swtpm
 *
 * Tells swtpm where the volume is, gives it the passphrase if it is encrypted,
 * lets the account that it runs as access the volume, and hands the locks over.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeHandToSwtpm(virQEMUDriver *driver,
                             qemuTPMVolume *volume,
                             virCommand *cmd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeAddFD:
 * @cmd: command line of swtpm
 * @fd: a descriptor that swtpm inherits, or -1; set to -1
 */
void qemuTPMVolumeAddFD(virCommand *cmd,
                        int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * qemuTPMVolumeSetVersion:
 * @emulator: emulated TPM on a volume
 * @version: the version of the TPM that is on it; DEFAULT if that is not known
 *
 * Sets the version of a TPM whose definition is silent about it.
 *
 * Returns 0 on success, -1 with an error reported if the definition requires another.
 */
int qemuTPMVolumeSetVersion(virDomainTPMEmulatorDef *emulator,
                            virDomainTPMVersion version)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeVerify:
 * @emulator: emulated TPM on a volume whose lock is held
 *
 * Makes sure that the storage driver still describes the volume as it did when it was
 * looked up.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int qemuTPMVolumeVerify(const virDomainTPMEmulatorDef *emulator)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * qemuTPMVolumeMarkLog:
 * @tpm: a TPM whose swtpm is about to start
 *
 * Remembers where in swtpm's log this start begins.
 */
void qemuTPMVolumeMarkLog(virDomainTPMDef *tpm)
    ATTRIBUTE_NONNULL(1);

/**
 * qemuTPMVolumeReportEncrypted:
 * @vm: domain that is about to start
 * @src: volume of its TPM
 *
 * Reports that the TPM that is to be put on the volume is encrypted, and the volume
 * is not.
 */
void qemuTPMVolumeReportEncrypted(virDomainObj *vm,
                                  const virStorageSourcePoolDef *src)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
