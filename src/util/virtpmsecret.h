/*
 * virtpmsecret.h: the passphrase of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"
#include "vircommand.h"
#include "virsecret.h"

/**
 * virTPMSecretGet:
 * @lookup: the secret, by uuid or by usage
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 * @value: the passphrase; clear it with virSecureErase() before freeing
 * @len: its length in bytes
 *
 * Reads the value of the libvirt secret that encrypts a TPM volume. The
 * secret's usage type must be 'vtpm' or none.
 *
 * Returns 0 on success, -1 with an error reported that names the secret and
 * the volume: not found, of another usage type, without a value.
 */
int virTPMSecretGet(const virSecretLookupTypeDef *lookup,
                    const char *pool,
                    const char *vol,
                    uint8_t **value,
                    size_t *len)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(4) ATTRIBUTE_NONNULL(5) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMSecretAddFD:
 * @cmd: the command that needs the passphrase
 * @lookup, @pool, @vol: as for virTPMSecretGet()
 * @second: set to another descriptor that has the passphrase as well, or NULL
 *
 * Has @cmd find the passphrase behind a descriptor: it is in no argument,
 * environment or file. Two descriptors have the same one, even if somebody sets
 * the secret meanwhile.
 *
 * Returns the descriptor's number, which belongs to @cmd; -1 with an error
 * reported.
 */
int virTPMSecretAddFD(virCommand *cmd,
                      const virSecretLookupTypeDef *lookup,
                      const char *pool,
                      const char *vol,
                      int *second)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    ATTRIBUTE_NONNULL(4) G_GNUC_WARN_UNUSED_RESULT;
