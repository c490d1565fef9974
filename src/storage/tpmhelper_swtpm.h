/*
 * tpmhelper_swtpm.h: run swtpm on a copy of a TPM's state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The only place where the storage driver has the state of a TPM opened: in memory, in a
 * process of its own, which is talked to by sockets.
 */

#pragma once

#include "storage_tpm_bytes.h"

/* Which swtpm is run, and how. */
typedef struct _virTPMHelperSwtpmSpec virTPMHelperSwtpmSpec;
struct _virTPMHelperSwtpmSpec {
    const char *binary;   /* path of swtpm */
    bool tpm2;            /* version 2.0, or else 1.2 */
    const char *dir;      /* a private directory in memory, or NULL for none */
    int key;              /* descriptor of the passphrase; -1 if the state is clear */
    unsigned int timeout; /* for an answer, and to end, in seconds */
};

/* How a command of swtpm has failed. */
typedef enum {
    VIR_TPM_HELPER_SWTPM_GOOD,    /* it has not; an error of this process is reported */
    VIR_TPM_HELPER_SWTPM_REFUSED, /* it was not done, and swtpm has ended */
    VIR_TPM_HELPER_SWTPM_HANGS,   /* it was not answered in time, or swtpm did not end */
} virTPMHelperSwtpmFailure;

/* A running swtpm. Its state is a copy in memory, on no disk: what it does to it is
 * seen only by whoever asks for it. It ends with the process that started it, and
 * shares its stderr. */
typedef struct _virTPMHelperSwtpm virTPMHelperSwtpm;

/**
 * virTPMHelperSwtpmNew:
 * @spec: which swtpm to run; its passphrase is handed on unread
 * @bytes: a linear file that virTPMStateProbeBytes() has recognised, or NULL
 *         for none, to be followed by virTPMHelperSwtpmSetPermanent()
 *
 * Starts swtpm(8).
 *
 * Returns the running swtpm, or NULL with an error reported.
 */
virTPMHelperSwtpm *virTPMHelperSwtpmNew(const virTPMHelperSwtpmSpec *spec,
                                        const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmFree:
 * @swtpm: a running swtpm, or NULL; it is ended
 */
void virTPMHelperSwtpmFree(virTPMHelperSwtpm *swtpm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virTPMHelperSwtpm, virTPMHelperSwtpmFree);

/**
 * virTPMHelperSwtpmGetFailure:
 * @swtpm: a swtpm
 * @command: set to the name of the command that has failed, or NULL
 *
 * Returns how it has failed.
 */
virTPMHelperSwtpmFailure virTPMHelperSwtpmGetFailure(const virTPMHelperSwtpm *swtpm,
                                                     const char **command)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virTPMHelperSwtpmInit:
 * @swtpm: a running swtpm
 *
 * Powers the TPM on: only now its state is decrypted and looked at. From then on its
 * file has no name.
 *
 * Returns 0 on success, -1 if that has failed, see virTPMHelperSwtpmGetFailure().
 */
int virTPMHelperSwtpmInit(virTPMHelperSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmGetPermanent:
 * @swtpm: a swtpm whose TPM is on
 *
 * Returns the permanent state in clear, as CMD_GET_STATEBLOB of swtpm_ioctls(3)
 * gives it; NULL if that has failed, see virTPMHelperSwtpmGetFailure().
 */
virStorageTPMBytes *virTPMHelperSwtpmGetPermanent(virTPMHelperSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmSetPermanent:
 * @swtpm: a swtpm whose TPM is off
 * @blob: what virTPMHelperSwtpmGetPermanent() has returned
 *
 * Gives the TPM a state, by CMD_SET_STATEBLOB of swtpm_ioctls(3).
 *
 * Returns 0 on success, -1 if that has failed, see virTPMHelperSwtpmGetFailure().
 */
int virTPMHelperSwtpmSetPermanent(virTPMHelperSwtpm *swtpm,
                                  const virStorageTPMBytes *blob)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmGetProfile:
 * @swtpm: a swtpm whose TPM is on
 * @json: set to what TPMLIB_GetInfo(3) tells of the active profile, a JSON object;
 *        to NULL if this swtpm does not tell
 *
 * Asks by CMD_GET_INFO of swtpm_ioctls(3), of which this must be the last command.
 *
 * Returns 0 on success, -1 if that has failed, see virTPMHelperSwtpmGetFailure().
 */
int virTPMHelperSwtpmGetProfile(virTPMHelperSwtpm *swtpm,
                                char **json)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmTransmit:
 * @swtpm: a swtpm whose TPM is on
 * @command: a TPM command of @len bytes
 * @response: room for the response
 * @size: of @response, in bytes
 *
 * Returns the response's length in bytes; whether the TPM did what it was told
 * stands in the response. -1 if swtpm does not answer, see
 * virTPMHelperSwtpmGetFailure().
 */
ssize_t virTPMHelperSwtpmTransmit(virTPMHelperSwtpm *swtpm,
                                  const uint8_t *command,
                                  size_t len,
                                  uint8_t *response,
                                  size_t size)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperSwtpmFinish:
 * @swtpm: a swtpm whose TPM is on
 *
 * Powers the TPM off, and ends swtpm.
 *
 * Returns its state, a linear file; NULL if that has failed, see
 * virTPMHelperSwtpmGetFailure().
 */
virStorageTPMBytes *virTPMHelperSwtpmFinish(virTPMHelperSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
