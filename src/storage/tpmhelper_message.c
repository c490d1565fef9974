/*
 * tpmhelper_message.c: commands and responses of a TPM 2.0
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A command is put together number by number, sent, and replaced by its response,
 * which is taken apart in the same way. A response may be anything, and of any
 * length: nothing behind its end is read.
 */

#include <config.h>

#include "tpmhelper_message.h"
#include "virendian.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Tag, length and code, of which the last is at this place. */
#define VIR_TPM_HELPER_MESSAGE_HEADER 10
#define VIR_TPM_HELPER_MESSAGE_CODE 6


void
virTPMHelperMessagePut(virTPMHelperMessage *message,
                       size_t size,
                       uint32_t value)
{
    uint32_t be = GUINT32_TO_BE(value);

    memcpy(message->buf + message->len, (uint8_t *)&be + sizeof(be) - size, size);
    message->len += size;
}


void
virTPMHelperMessagePutBytes(virTPMHelperMessage *message,
                            const uint8_t *bytes,
                            size_t len)
{
    memcpy(message->buf + message->len, bytes, len);
    message->len += len;
}


void
virTPMHelperMessagePutAuth(virTPMHelperMessage *message)
{
    virTPMHelperMessagePut(message, 4, 9); /* length of the authorization */
    virTPMHelperMessagePut(message, 4, TPM_RS_PW);
    virTPMHelperMessagePut(message, 2, 0); /* nonce */
    virTPMHelperMessagePut(message, 1, 0); /* session attributes */
    virTPMHelperMessagePut(message, 2, 0); /* password */
}


const uint8_t *
virTPMHelperMessageRead(virTPMHelperMessage *message,
                        size_t len)
{
    const uint8_t *bytes = message->buf + message->pos;

    if (message->overrun || len > message->len - message->pos) {
        message->overrun = true;
        return NULL;
    }

    message->pos += len;
    return bytes;
}


uint32_t
virTPMHelperMessageRead32(virTPMHelperMessage *message)
{
    const uint8_t *bytes = virTPMHelperMessageRead(message, 4);

    return bytes ? virReadBufInt32BE(bytes) : 0;
}


uint16_t
virTPMHelperMessageRead16(virTPMHelperMessage *message)
{
    const uint8_t *bytes = virTPMHelperMessageRead(message, 2);

    return bytes ? virReadBufInt16BE(bytes) : 0;
}


const uint8_t *
virTPMHelperMessageRead2B(virTPMHelperMessage *message,
                          size_t *len)
{
    *len = virTPMHelperMessageRead16(message);
    return virTPMHelperMessageRead(message, *len);
}


void
virTPMHelperMessageInit(virTPMHelperMessage *message,
                        uint16_t tag,
                        uint32_t code)
{
    memset(message, 0, sizeof(*message));
    virTPMHelperMessagePut(message, 2, tag);
    virTPMHelperMessagePut(message, 4, 0); /* the length, later */
    virTPMHelperMessagePut(message, 4, code);
}


int
virTPMHelperMessageSend(virTPMHelperMessage *message,
                        virTPMHelperSwtpm *swtpm)
{
    g_autofree virTPMHelperMessage *response = g_new0(virTPMHelperMessage, 1);
    size_t len = message->len;
    ssize_t got;

    message->len = 2;
    virTPMHelperMessagePut(message, 4, len);

    if ((got = virTPMHelperSwtpmTransmit(swtpm, message->buf, len, response->buf,
                                         sizeof(response->buf))) < 0)
        return -1;

    response->len = got;
    response->pos = VIR_TPM_HELPER_MESSAGE_HEADER;
    memcpy(message, response, sizeof(*message));

    if (got < VIR_TPM_HELPER_MESSAGE_HEADER)
        return 0;

    return virReadBufInt32BE(message->buf + VIR_TPM_HELPER_MESSAGE_CODE) == 0 ? 1 : 0;
}
