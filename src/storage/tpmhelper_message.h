/*
 * tpmhelper_message.h: commands and responses of a TPM 2.0
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Puts commands of the TPM 2.0 Library together, and takes responses apart, which may
 * be anything.
 */

#pragma once

#include "tpmhelper_swtpm.h"

/* TPM 2.0 Library, part 2: all numbers are big-endian. */
enum {
    TPM_ST_NO_SESSIONS = 0x8001,
    TPM_ST_SESSIONS = 0x8002,

    TPM_RS_PW = 0x40000009,
};

#define VIR_TPM_HELPER_MESSAGE_MAX 4096

/* A command that is put together, or a response that is taken apart. */
typedef struct _virTPMHelperMessage virTPMHelperMessage;
struct _virTPMHelperMessage {
    uint8_t buf[VIR_TPM_HELPER_MESSAGE_MAX];
    size_t len;
    size_t pos;    /* of a response: what has been taken */
    bool overrun;  /* more was wanted than there is */
};

/**
 * virTPMHelperMessageInit:
 * @message: becomes a command without parameters
 * @tag: a TPM_ST_*
 * @code: a TPM_CC_*
 */
void virTPMHelperMessageInit(virTPMHelperMessage *message,
                             uint16_t tag,
                             uint32_t code)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessagePut:
 * @message: a command, which has room for it
 * @size: how many bytes the number has, at most 4
 * @value: the number
 */
void virTPMHelperMessagePut(virTPMHelperMessage *message,
                            size_t size,
                            uint32_t value)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessagePutBytes:
 * @message: a command, which has room for them
 * @bytes: @len bytes
 */
void virTPMHelperMessagePutBytes(virTPMHelperMessage *message,
                                 const uint8_t *bytes,
                                 size_t len)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virTPMHelperMessagePutAuth:
 * @message: a command, which gets an authorization with an empty password
 */
void virTPMHelperMessagePutAuth(virTPMHelperMessage *message)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessageSend:
 * @message: a command; becomes the response, to be taken from behind its header
 * @swtpm: a swtpm whose TPM is on
 *
 * Returns 1 if the TPM did it, 0 if it did not, -1 if swtpm does not answer, see
 * virTPMHelperSwtpmGetFailure().
 */
int virTPMHelperMessageSend(virTPMHelperMessage *message,
                            virTPMHelperSwtpm *swtpm)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMHelperMessageRead:
 * @message: a response
 * @len: how many bytes to take
 *
 * Returns the bytes; NULL if there are not that many, and from then on.
 */
const uint8_t *virTPMHelperMessageRead(virTPMHelperMessage *message,
                                       size_t len)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessageRead32:
 * @message: a response
 *
 * Returns a number that is taken; 0 if there is none, as @message tells then.
 */
uint32_t virTPMHelperMessageRead32(virTPMHelperMessage *message)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessageRead16:
 * @message: a response
 *
 * Returns a number that is taken; 0 if there is none, as @message tells then.
 */
uint16_t virTPMHelperMessageRead16(virTPMHelperMessage *message)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMHelperMessageRead2B:
 * @message: a response
 * @len: set to the length in bytes
 *
 * Takes a TPM2B: 16 bits that tell a length, and as many bytes.
 *
 * Returns the bytes; NULL if there are not that many.
 */
const uint8_t *virTPMHelperMessageRead2B(virTPMHelperMessage *message,
                                         size_t *len)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);
