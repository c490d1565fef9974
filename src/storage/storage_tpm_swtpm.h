/*
 * storage_tpm_swtpm.h: run swtpm on a copy of a volume's state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "virsecret.h"
#include "virtpmstate.h"

/* Which TPM it is that swtpm runs. The names are for error messages. */
typedef struct _virStorageTPMSwtpmSpec virStorageTPMSwtpmSpec;
struct _virStorageTPMSwtpmSpec {
    const char *pool;
    const char *vol;
    virDomainTPMVersion version;
    const virSecretLookupTypeDef *secret; /* that encrypts the state; NULL if it is clear */
};

/* A running swtpm. Its state is a copy in memory, on no disk: what it does to it is
 * seen only by whoever asks for it. It ends with the process that started it. */
typedef struct _virStorageTPMSwtpm virStorageTPMSwtpm;

/**
 * virStorageTPMSwtpmNew:
 * @spec: which TPM to run
 * @bytes: a linear file that virTPMStateProbeBytes() has recognised, or NULL
 *         for none, to be followed by virStorageTPMSwtpmSetPermanent()
 *
 * Starts swtpm(8), as the user who makes TPMs, see virStorageTPMSetupUser().
 *
 * Returns the running swtpm, or NULL with an error reported.
 */
virStorageTPMSwtpm *virStorageTPMSwtpmNew(const virStorageTPMSwtpmSpec *spec,
                                          const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSwtpmFree:
 * @swtpm: a running swtpm, or NULL; it is ended
 */
void virStorageTPMSwtpmFree(virStorageTPMSwtpm *swtpm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMSwtpm, virStorageTPMSwtpmFree);

/**
 * virStorageTPMSwtpmInit:
 * @swtpm: a running swtpm
 *
 * Powers the TPM on: only now its state is decrypted and looked at.
 *
 * Returns 0 on success, -1 with an error reported that says why the state
 * cannot be used; VIR_ERR_AUTH_FAILED if it cannot be decrypted.
 */
int virStorageTPMSwtpmInit(virStorageTPMSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSwtpmGetPermanent:
 * @swtpm: a swtpm whose TPM is on
 *
 * Returns the permanent state in clear, as CMD_GET_STATEBLOB of
 * swtpm_ioctls(3) gives it, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMSwtpmGetPermanent(virStorageTPMSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSwtpmSetPermanent:
 * @swtpm: a swtpm whose TPM is off
 * @blob: what virStorageTPMSwtpmGetPermanent() has returned
 *
 * Gives the TPM a state, by CMD_SET_STATEBLOB of swtpm_ioctls(3).
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageTPMSwtpmSetPermanent(virStorageTPMSwtpm *swtpm,
                                   const virStorageTPMBytes *blob)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSwtpmTransmit:
 * @swtpm: a swtpm whose TPM is on
 * @command: a TPM command of @len bytes
 * @response: room for the response
 * @size: of @response, in bytes
 *
 * Returns the response's length in bytes, or -1 with an error reported if
 * swtpm does not answer; whether the TPM did what it was told stands in the
 * response.
 */
ssize_t virStorageTPMSwtpmTransmit(virStorageTPMSwtpm *swtpm,
                                   const uint8_t *command,
                                   size_t len,
                                   uint8_t *response,
                                   size_t size)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(4)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMSwtpmFinish:
 * @swtpm: a swtpm whose TPM is on
 *
 * Powers the TPM off, and ends swtpm.
 *
 * Returns its state, a linear file, or NULL with an error reported.
 */
virStorageTPMBytes *virStorageTPMSwtpmFinish(virStorageTPMSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
