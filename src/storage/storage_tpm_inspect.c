/*
 * storage_tpm_inspect.c: asks a TPM who it is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_tpm_endorsement.h"
#include "storage_tpm_inspect.h"
#include "viralloc.h"
#include "virbitmap.h"
#include "virendian.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* TPM 2.0 Library, part 2: all numbers are big-endian. */
enum {
    TPM_ST_NO_SESSIONS = 0x8001,
    TPM_ST_SESSIONS = 0x8002,

    TPM_CC_STARTUP = 0x144,
    TPM_CC_NV_READ = 0x14e,
    TPM_CC_NV_READ_PUBLIC = 0x169,
    TPM_CC_READ_PUBLIC = 0x173,
    TPM_CC_GET_CAPABILITY = 0x17a,

    TPM_SU_CLEAR = 0,
    TPM_CAP_PCRS = 5,
    TPM_RS_PW = 0x40000009,

    TPM_ALG_RSA = 0x0001,
    TPM_ALG_SHA1 = 0x0004,
    TPM_ALG_SHA256 = 0x000b,
    TPM_ALG_SHA384 = 0x000c,
    TPM_ALG_SHA512 = 0x000d,
    TPM_ALG_NULL = 0x0010,
    TPM_ALG_ECC = 0x0023,
};

/* TCG EK Credential Profile: where swtpm_setup puts an EK and its certificate. */
static const struct {
    const char *key;
    uint32_t handle;
    uint32_t cert;
} virStorageTPMInspectSlots[] = {
    { "rsa2048", 0x81010001, 0x01c00002 },
    { "rsa3072", 0x8101001c, 0x01c0001c },
    { "rsa4096", 0x8101001e, 0x01c0001e },
    { "secp384r1", 0x81010016, 0x01c00016 },
};

/* What one TPM2_NV_Read gives at most, by the PC Client profile. */
#define VIR_STORAGE_TPM_INSPECT_NV_PART 1024
#define VIR_STORAGE_TPM_INSPECT_CERT_MAX (16 * 1024)

#define VIR_STORAGE_TPM_INSPECT_HEADER 10
#define VIR_STORAGE_TPM_INSPECT_BUFFER 4096

/* A command that is put together, or a response that is taken apart. */
typedef struct _virStorageTPMMessage virStorageTPMMessage;
struct _virStorageTPMMessage {
    uint8_t buf[VIR_STORAGE_TPM_INSPECT_BUFFER];
    size_t len;
    size_t pos;    /* of a response: what has been taken */
    bool overrun;  /* more was wanted than there is */
};


static void
virStorageTPMMessagePut(virStorageTPMMessage *message,
                        size_t size,
                        uint32_t value)
{
    uint32_t be = GUINT32_TO_BE(value);

    memcpy(message->buf + message->len, (uint8_t *)&be + sizeof(be) - size, size);
    message->len += size;
}


/* Takes @len bytes; NULL if there are not that many. */
static const uint8_t *
virStorageTPMMessageTake(virStorageTPMMessage *message,
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


static uint32_t
virStorageTPMMessageTake32(virStorageTPMMessage *message)
{
    const uint8_t *bytes = virStorageTPMMessageTake(message, 4);

    return bytes ? virReadBufInt32BE(bytes) : 0;
}


static uint16_t
virStorageTPMMessageTake16(virStorageTPMMessage *message)
{
    const uint8_t *bytes = virStorageTPMMessageTake(message, 2);

    return bytes ? virReadBufInt16BE(bytes) : 0;
}


/* Takes a TPM2B: a u16 length and as many bytes. */
static const uint8_t *
virStorageTPMMessageTake2B(virStorageTPMMessage *message,
                           size_t *len)
{
    *len = virStorageTPMMessageTake16(message);
    return virStorageTPMMessageTake(message, *len);
}


static void
virStorageTPMMessageBegin(virStorageTPMMessage *message,
                          uint16_t tag,
                          uint32_t code)
{
    memset(message, 0, sizeof(*message));
    virStorageTPMMessagePut(message, 2, tag);
    virStorageTPMMessagePut(message, 4, 0); /* the length, later */
    virStorageTPMMessagePut(message, 4, code);
}


/* Sends a command and has @message be the response behind its header. Returns
 * 1 if the TPM did it, 0 if it did not, -1 with an error reported. */
static int
virStorageTPMMessageSend(virStorageTPMMessage *message,
                         virStorageTPMSwtpm *swtpm)
{
    g_autofree virStorageTPMMessage *response = g_new0(virStorageTPMMessage, 1);
    size_t len = message->len;
    ssize_t got;

    message->len = 2;
    virStorageTPMMessagePut(message, 4, len);

    if ((got = virStorageTPMSwtpmTransmit(swtpm, message->buf, len, response->buf,
                                          sizeof(response->buf))) < 0)
        return -1;

    response->len = got;
    response->pos = VIR_STORAGE_TPM_INSPECT_HEADER;
    memcpy(message, response, sizeof(*message));

    if (got < VIR_STORAGE_TPM_INSPECT_HEADER)
        return 0;

    return virReadBufInt32BE(message->buf + 6) == 0 ? 1 : 0;
}


/* TPM2_Startup; a TPM that is started up already is as good. */
static int
virStorageTPMInspectStartup(virStorageTPMSwtpm *swtpm,
                            virStorageTPMMessage *message)
{
    virStorageTPMMessageBegin(message, TPM_ST_NO_SESSIONS, TPM_CC_STARTUP);
    virStorageTPMMessagePut(message, 2, TPM_SU_CLEAR);
    return virStorageTPMMessageSend(message, swtpm);
}


static int
virStorageTPMInspectBank(uint16_t alg)
{
    switch (alg) {
    case TPM_ALG_SHA1:
        return VIR_DOMAIN_TPM_PCR_BANK_SHA1;
    case TPM_ALG_SHA256:
        return VIR_DOMAIN_TPM_PCR_BANK_SHA256;
    case TPM_ALG_SHA384:
        return VIR_DOMAIN_TPM_PCR_BANK_SHA384;
    case TPM_ALG_SHA512:
        return VIR_DOMAIN_TPM_PCR_BANK_SHA512;
    }

    return -1;
}


/* Takes a TPML_PCR_SELECTION: the banks that have any PCR are active. */
static void
virStorageTPMInspectTakeBanks(virStorageTPMMessage *message,
                              virStorageVolTPMDef *found)
{
    uint32_t count = virStorageTPMMessageTake32(message);
    size_t i;

    for (i = 0; i < count && !message->overrun; i++) {
        int bank = virStorageTPMInspectBank(virStorageTPMMessageTake16(message));
        const uint8_t *size = virStorageTPMMessageTake(message, 1);
        size_t len = size ? *size : 0;
        const uint8_t *selected = virStorageTPMMessageTake(message, len);
        bool active = false;

        while (selected && len > 0)
            active |= selected[--len] != 0;

        if (!active || bank < 0)
            continue;

        if (!found->activePcrBanks)
            found->activePcrBanks = virBitmapNew(0);
        virBitmapSetBitExpand(found->activePcrBanks, bank);
    }
}


static int
virStorageTPMInspectBanks(virStorageTPMSwtpm *swtpm,
                          virStorageTPMMessage *message,
                          virStorageVolTPMDef *found)
{
    int rc;

    virStorageTPMMessageBegin(message, TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    virStorageTPMMessagePut(message, 4, TPM_CAP_PCRS);
    virStorageTPMMessagePut(message, 4, 0);
    virStorageTPMMessagePut(message, 4, 1);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageTake(message, 1); /* more data */
    virStorageTPMMessageTake32(message);  /* capability */
    virStorageTPMInspectTakeBanks(message, found);
    return 1;
}


/* Takes a TPMT_SYM_DEF_OBJECT, and the scheme without parameters that an EK has. */
static bool
virStorageTPMInspectTakeSchemes(virStorageTPMMessage *message)
{
    if (virStorageTPMMessageTake16(message) != TPM_ALG_NULL)
        virStorageTPMMessageTake32(message); /* key bits, mode */

    return virStorageTPMMessageTake16(message) == TPM_ALG_NULL && !message->overrun;
}


/* Takes a TPM2B_PUBLIC. What is no EK as the profile has them is passed over. */
static void
virStorageTPMInspectTakePublic(virStorageTPMMessage *message,
                               virStorageVolTPMDef *found)
{
    uint16_t type;
    uint32_t parameter;
    const uint8_t *x;
    const uint8_t *y;
    size_t xlen;
    size_t ylen;

    virStorageTPMMessageTake16(message); /* size */
    type = virStorageTPMMessageTake16(message);
    virStorageTPMMessageTake16(message); /* hash of the name */
    virStorageTPMMessageTake32(message); /* attributes */
    virStorageTPMMessageTake2B(message, &xlen); /* policy */

    if ((type != TPM_ALG_RSA && type != TPM_ALG_ECC) ||
        !virStorageTPMInspectTakeSchemes(message))
        return;

    if (type == TPM_ALG_RSA) {
        virStorageTPMMessageTake16(message); /* key bits */
        parameter = virStorageTPMMessageTake32(message);
        if ((x = virStorageTPMMessageTake2B(message, &xlen)))
            ignore_value(virStorageTPMEndorsementAddRSA(found, x, xlen,
                                                        parameter ? parameter : 65537));
        return;
    }

    parameter = virStorageTPMMessageTake16(message);
    if (virStorageTPMMessageTake16(message) != TPM_ALG_NULL) /* key derivation */
        virStorageTPMMessageTake16(message);
    x = virStorageTPMMessageTake2B(message, &xlen);
    y = virStorageTPMMessageTake2B(message, &ylen);
    if (x && y)
        ignore_value(virStorageTPMEndorsementAddECC(found, parameter, x, xlen, y, ylen));
}


static int
virStorageTPMInspectKey(virStorageTPMSwtpm *swtpm,
                        virStorageTPMMessage *message,
                        uint32_t handle,
                        virStorageVolTPMDef *found)
{
    int rc;

    virStorageTPMMessageBegin(message, TPM_ST_NO_SESSIONS, TPM_CC_READ_PUBLIC);
    virStorageTPMMessagePut(message, 4, handle);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMInspectTakePublic(message, found);
    return 1;
}


/* Sets @size to that of an NV index. */
static int
virStorageTPMInspectNVSize(virStorageTPMSwtpm *swtpm,
                           virStorageTPMMessage *message,
                           uint32_t nv,
                           size_t *size)
{
    size_t policy;
    int rc;

    virStorageTPMMessageBegin(message, TPM_ST_NO_SESSIONS, TPM_CC_NV_READ_PUBLIC);
    virStorageTPMMessagePut(message, 4, nv);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageTake16(message); /* size of all that follows */
    virStorageTPMMessageTake32(message); /* the index */
    virStorageTPMMessageTake16(message); /* hash of the name */
    virStorageTPMMessageTake32(message); /* attributes */
    virStorageTPMMessageTake2B(message, &policy);
    *size = virStorageTPMMessageTake16(message);

    return !message->overrun && *size <= VIR_STORAGE_TPM_INSPECT_CERT_MAX;
}


/* TPM2_NV_Read with the index's own, empty password. */
static int
virStorageTPMInspectNVPart(virStorageTPMSwtpm *swtpm,
                           virStorageTPMMessage *message,
                           uint32_t nv,
                           size_t offset,
                           size_t len,
                           uint8_t *data)
{
    const uint8_t *part;
    size_t got;
    int rc;

    virStorageTPMMessageBegin(message, TPM_ST_SESSIONS, TPM_CC_NV_READ);
    virStorageTPMMessagePut(message, 4, nv);
    virStorageTPMMessagePut(message, 4, nv);
    virStorageTPMMessagePut(message, 4, 9); /* length of the authorization */
    virStorageTPMMessagePut(message, 4, TPM_RS_PW);
    virStorageTPMMessagePut(message, 2, 0); /* nonce */
    virStorageTPMMessagePut(message, 1, 0); /* session attributes */
    virStorageTPMMessagePut(message, 2, 0); /* password */
    virStorageTPMMessagePut(message, 2, len);
    virStorageTPMMessagePut(message, 2, offset);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageTake32(message); /* size of the parameters */
    if (!(part = virStorageTPMMessageTake2B(message, &got)) || got != len)
        return 0;

    memcpy(data + offset, part, len);
    return 1;
}


static int
virStorageTPMInspectCert(virStorageTPMSwtpm *swtpm,
                         virStorageTPMMessage *message,
                         uint32_t nv,
                         const char *key,
                         virStorageVolTPMDef *found)
{
    g_autofree uint8_t *der = NULL;
    size_t size;
    size_t offset;
    int rc;

    if ((rc = virStorageTPMInspectNVSize(swtpm, message, nv, &size)) <= 0)
        return rc;

    der = g_new0(uint8_t, size);
    for (offset = 0; offset < size; offset += VIR_STORAGE_TPM_INSPECT_NV_PART) {
        size_t len = MIN(size - offset, VIR_STORAGE_TPM_INSPECT_NV_PART);

        if ((rc = virStorageTPMInspectNVPart(swtpm, message, nv, offset, len, der)) <= 0)
            return rc;
    }

    ignore_value(virStorageTPMEndorsementAddCert(found, key, der, size));
    return 1;
}


int
virStorageTPMInspect(virStorageTPMSwtpm *swtpm,
                     virStorageVolTPMDef *found)
{
    g_autofree virStorageTPMMessage *message = g_new0(virStorageTPMMessage, 1);
    size_t i;

    if (virStorageTPMInspectStartup(swtpm, message) < 0 ||
        virStorageTPMInspectBanks(swtpm, message, found) < 0)
        return -1;

    for (i = 0; i < G_N_ELEMENTS(virStorageTPMInspectSlots); i++) {
        if (virStorageTPMInspectKey(swtpm, message, virStorageTPMInspectSlots[i].handle,
                                    found) < 0 ||
            virStorageTPMInspectCert(swtpm, message, virStorageTPMInspectSlots[i].cert,
                                     virStorageTPMInspectSlots[i].key, found) < 0)
            return -1;
    }

    return 0;
}
