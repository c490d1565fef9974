/*
 * storage_tpm_inspect.c: read endorsement keys, PCR banks and lockout from a TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_tpm_bytes.h"
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

    TPM_CC_CLEAR = 0x126,
    TPM_CC_CLEAR_CONTROL = 0x127,
    TPM_CC_CREATE_PRIMARY = 0x131,
    TPM_CC_STARTUP = 0x144,
    TPM_CC_NV_READ = 0x14e,
    TPM_CC_FLUSH_CONTEXT = 0x165,
    TPM_CC_NV_READ_PUBLIC = 0x169,
    TPM_CC_GET_CAPABILITY = 0x17a,

    TPM_SU_CLEAR = 0,
    TPM_CAP_PCRS = 5,
    TPM_CAP_TPM_PROPERTIES = 6,
    TPM_PT_PERMANENT = 0x200,
    TPM_PT_LOCKOUT_COUNTER = 0x20e,
    TPM_PT_MAX_AUTH_FAIL = 0x20f,
    TPMA_PERMANENT_IN_LOCKOUT = 1 << 9,
    TPMA_NV_PLATFORMCREATE = 1 << 30,

    TPM_RS_PW = 0x40000009,
    TPM_RH_ENDORSEMENT = 0x4000000b,
    TPM_RH_PLATFORM = 0x4000000c,

    TPM_ALG_RSA = 0x0001,
    TPM_ALG_SHA1 = 0x0004,
    TPM_ALG_AES = 0x0006,
    TPM_ALG_SHA256 = 0x000b,
    TPM_ALG_SHA384 = 0x000c,
    TPM_ALG_SHA512 = 0x000d,
    TPM_ALG_NULL = 0x0010,
    TPM_ALG_ECC = 0x0023,
    TPM_ALG_CFB = 0x0043,
    TPM_ECC_NIST_P384 = 0x0004,
};

/* TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy,
 * restricted and decrypt; in the high range of templates userWithAuth too. */
#define VIR_STORAGE_TPM_INSPECT_EK_LOW 0x000300b2
#define VIR_STORAGE_TPM_INSPECT_EK_HIGH 0x000300f2

/* TCG EK Credential Profile: the keys that swtpm_setup makes, the NV index of
 * their certificate, and that of their template where it is not the default
 * one. Every TPM has the keys of which swtpm_setup makes both by default. */
typedef struct _virStorageTPMInspectSlot virStorageTPMInspectSlot;
struct _virStorageTPMInspectSlot {
    const char *key;
    uint32_t cert;
    uint32_t template;
    uint16_t type;
    uint16_t size;   /* in bits, or the TPM_ECC_CURVE */
    bool high;       /* range of the default template */
    bool always;     /* whether it is made without a certificate as well */
};

static const virStorageTPMInspectSlot virStorageTPMInspectSlots[] = {
    { "rsa2048", 0x01c00002, 0x01c00004, TPM_ALG_RSA, 2048, false, true },
    { "rsa3072", 0x01c0001c, 0x01c0001d, TPM_ALG_RSA, 3072, true, false },
    { "rsa4096", 0x01c0001e, 0x01c0001f, TPM_ALG_RSA, 4096, true, false },
    { "secp384r1", 0x01c00016, 0x01c00017, TPM_ALG_ECC, TPM_ECC_NIST_P384, true, true },
};

/* TCG EK Credential Profile: PolicyA with SHA-256, PolicyB with SHA-384. */
static const uint8_t virStorageTPMInspectPolicyA[] = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8,
    0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64,
    0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};
static const uint8_t virStorageTPMInspectPolicyB[] = {
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc,
    0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
    0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15,
    0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
};

/* What one TPM2_NV_Read gives at most, by the PC Client profile. */
#define VIR_STORAGE_TPM_INSPECT_NV_PART 1024
#define VIR_STORAGE_TPM_INSPECT_CERT_MAX (16 * 1024)
#define VIR_STORAGE_TPM_INSPECT_TEMPLATE_MAX 1024

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


static void
virStorageTPMMessagePutBytes(virStorageTPMMessage *message,
                             const uint8_t *bytes,
                             size_t len)
{
    memcpy(message->buf + message->len, bytes, len);
    message->len += len;
}


/* Puts an authorization with an empty password. */
static void
virStorageTPMMessagePutAuth(virStorageTPMMessage *message)
{
    virStorageTPMMessagePut(message, 4, 9); /* length of the authorization */
    virStorageTPMMessagePut(message, 4, TPM_RS_PW);
    virStorageTPMMessagePut(message, 2, 0); /* nonce */
    virStorageTPMMessagePut(message, 1, 0); /* session attributes */
    virStorageTPMMessagePut(message, 2, 0); /* password */
}


/* Takes @len bytes; NULL if there are not that many. */
static const uint8_t *
virStorageTPMMessageRead(virStorageTPMMessage *message,
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
virStorageTPMMessageRead32(virStorageTPMMessage *message)
{
    const uint8_t *bytes = virStorageTPMMessageRead(message, 4);

    return bytes ? virReadBufInt32BE(bytes) : 0;
}


static uint16_t
virStorageTPMMessageRead16(virStorageTPMMessage *message)
{
    const uint8_t *bytes = virStorageTPMMessageRead(message, 2);

    return bytes ? virReadBufInt16BE(bytes) : 0;
}


/* Takes a TPM2B: a u16 length and as many bytes. */
static const uint8_t *
virStorageTPMMessageRead2B(virStorageTPMMessage *message,
                           size_t *len)
{
    *len = virStorageTPMMessageRead16(message);
    return virStorageTPMMessageRead(message, *len);
}


static void
virStorageTPMMessageInit(virStorageTPMMessage *message,
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
    virStorageTPMMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_STARTUP);
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
virStorageTPMInspectReadBanks(virStorageTPMMessage *message,
                              virStorageVolTPMDef *found)
{
    uint32_t count = virStorageTPMMessageRead32(message);
    size_t i;

    for (i = 0; i < count && !message->overrun; i++) {
        int bank = virStorageTPMInspectBank(virStorageTPMMessageRead16(message));
        const uint8_t *size = virStorageTPMMessageRead(message, 1);
        size_t len = size ? *size : 0;
        const uint8_t *selected = virStorageTPMMessageRead(message, len);
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

    virStorageTPMMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    virStorageTPMMessagePut(message, 4, TPM_CAP_PCRS);
    virStorageTPMMessagePut(message, 4, 0);
    virStorageTPMMessagePut(message, 4, 1);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageRead(message, 1); /* more data */
    virStorageTPMMessageRead32(message);  /* capability */
    virStorageTPMInspectReadBanks(message, found);
    return 1;
}


/* Learns how often a wrong password was tried, and whether more are refused. */
static int
virStorageTPMInspectLockout(virStorageTPMSwtpm *swtpm,
                            virStorageTPMMessage *message,
                            virStorageVolTPMInspection *inspection)
{
    uint32_t count;
    size_t i;
    int rc;

    virStorageTPMMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    virStorageTPMMessagePut(message, 4, TPM_CAP_TPM_PROPERTIES);
    virStorageTPMMessagePut(message, 4, TPM_PT_PERMANENT);
    virStorageTPMMessagePut(message, 4, TPM_PT_MAX_AUTH_FAIL - TPM_PT_PERMANENT + 1);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageRead(message, 1); /* more data */
    virStorageTPMMessageRead32(message);  /* capability */
    count = virStorageTPMMessageRead32(message);

    for (i = 0; i < count && !message->overrun; i++) {
        uint32_t property = virStorageTPMMessageRead32(message);
        uint32_t value = virStorageTPMMessageRead32(message);

        if (message->overrun)
            break;
        if (property == TPM_PT_PERMANENT)
            inspection->locked = value & TPMA_PERMANENT_IN_LOCKOUT;
        else if (property == TPM_PT_LOCKOUT_COUNTER)
            inspection->tries = value;
        else if (property == TPM_PT_MAX_AUTH_FAIL)
            inspection->limit = value;
    }

    return 1;
}


/* TPM2_Clear, by the authority of the platform, which nobody has restricted since
 * this TPM was started up: what its owner has put into it goes, and so do the
 * passwords that he has set. The endorsement seed stays, and what the platform has
 * put there. */
static int
virStorageTPMInspectClear(virStorageTPMSwtpm *swtpm,
                          virStorageTPMMessage *message)
{
    virStorageTPMMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CLEAR_CONTROL);
    virStorageTPMMessagePut(message, 4, TPM_RH_PLATFORM);
    virStorageTPMMessagePutAuth(message);
    virStorageTPMMessagePut(message, 1, 0); /* do not disable it */

    if (virStorageTPMMessageSend(message, swtpm) < 0)
        return -1;

    virStorageTPMMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CLEAR);
    virStorageTPMMessagePut(message, 4, TPM_RH_PLATFORM);
    virStorageTPMMessagePutAuth(message);
    return virStorageTPMMessageSend(message, swtpm);
}


/* Takes a TPMT_SYM_DEF_OBJECT, and the scheme without parameters that an EK has. */
static bool
virStorageTPMInspectSkipSchemes(virStorageTPMMessage *message)
{
    if (virStorageTPMMessageRead16(message) != TPM_ALG_NULL)
        virStorageTPMMessageRead32(message); /* key bits, mode */

    return virStorageTPMMessageRead16(message) == TPM_ALG_NULL && !message->overrun;
}


/* Takes a TPM2B_PUBLIC. What is no EK as the profile has them is passed over. */
static void
virStorageTPMInspectReadPublic(virStorageTPMMessage *message,
                               virStorageVolTPMDef *found)
{
    uint16_t type;
    uint32_t parameter;
    const uint8_t *x;
    const uint8_t *y;
    size_t xlen;
    size_t ylen;

    virStorageTPMMessageRead16(message); /* size */
    type = virStorageTPMMessageRead16(message);
    virStorageTPMMessageRead16(message); /* hash of the name */
    virStorageTPMMessageRead32(message); /* attributes */
    virStorageTPMMessageRead2B(message, &xlen); /* policy */

    if ((type != TPM_ALG_RSA && type != TPM_ALG_ECC) ||
        !virStorageTPMInspectSkipSchemes(message))
        return;

    if (type == TPM_ALG_RSA) {
        virStorageTPMMessageRead16(message); /* key bits */
        parameter = virStorageTPMMessageRead32(message);
        if ((x = virStorageTPMMessageRead2B(message, &xlen)))
            ignore_value(virStorageTPMEndorsementAddRSA(found, x, xlen,
                                                        parameter ? parameter : 65537));
        return;
    }

    parameter = virStorageTPMMessageRead16(message);
    if (virStorageTPMMessageRead16(message) != TPM_ALG_NULL) /* key derivation */
        virStorageTPMMessageRead16(message);
    x = virStorageTPMMessageRead2B(message, &xlen);
    y = virStorageTPMMessageRead2B(message, &ylen);
    if (x && y)
        ignore_value(virStorageTPMEndorsementAddECC(found, parameter, x, xlen, y, ylen));
}


/* Puts the default template of a key: a TPMT_PUBLIC. */
static void
virStorageTPMInspectPutTemplate(virStorageTPMMessage *message,
                                const virStorageTPMInspectSlot *slot)
{
    const uint8_t *policy = slot->high ? virStorageTPMInspectPolicyB : virStorageTPMInspectPolicyA;
    size_t len = slot->high ? sizeof(virStorageTPMInspectPolicyB) : sizeof(virStorageTPMInspectPolicyA);
    size_t unique = slot->high ? 0 : slot->size / 8;

    virStorageTPMMessagePut(message, 2, slot->type);
    virStorageTPMMessagePut(message, 2, slot->high ? TPM_ALG_SHA384 : TPM_ALG_SHA256);
    virStorageTPMMessagePut(message, 4, slot->high ? VIR_STORAGE_TPM_INSPECT_EK_HIGH :
                                                     VIR_STORAGE_TPM_INSPECT_EK_LOW);
    virStorageTPMMessagePut(message, 2, len);
    virStorageTPMMessagePutBytes(message, policy, len);
    virStorageTPMMessagePut(message, 2, TPM_ALG_AES);
    virStorageTPMMessagePut(message, 2, slot->high ? 256 : 128);
    virStorageTPMMessagePut(message, 2, TPM_ALG_CFB);
    virStorageTPMMessagePut(message, 2, TPM_ALG_NULL); /* scheme */
    virStorageTPMMessagePut(message, 2, slot->size);

    if (slot->type == TPM_ALG_ECC) {
        virStorageTPMMessagePut(message, 2, TPM_ALG_NULL); /* key derivation */
        virStorageTPMMessagePut(message, 2, 0);            /* x */
    } else {
        virStorageTPMMessagePut(message, 4, 0); /* the default exponent */
    }

    /* y, or the modulus: of zeros, which the message is full of */
    virStorageTPMMessagePut(message, 2, unique);
    message->len += unique;
}


/* TPM2_CreatePrimary in the endorsement hierarchy: makes @found the key that the
 * endorsement seed gives with a template; NULL stands for the default one. */
static int
virStorageTPMInspectKey(virStorageTPMSwtpm *swtpm,
                        virStorageTPMMessage *message,
                        const virStorageTPMInspectSlot *slot,
                        const virStorageTPMBytes *template,
                        virStorageVolTPMDef *found)
{
    uint16_t len;
    uint32_t handle;
    size_t start;
    int rc;

    virStorageTPMMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CREATE_PRIMARY);
    virStorageTPMMessagePut(message, 4, TPM_RH_ENDORSEMENT);
    virStorageTPMMessagePutAuth(message);
    virStorageTPMMessagePut(message, 2, 4); /* length of what is sensitive: */
    virStorageTPMMessagePut(message, 2, 0); /* password */
    virStorageTPMMessagePut(message, 2, 0); /* data */

    start = message->len;
    message->len += sizeof(len);
    if (template)
        virStorageTPMMessagePutBytes(message, template->data, template->len);
    else
        virStorageTPMInspectPutTemplate(message, slot);
    len = GUINT16_TO_BE(message->len - start - sizeof(len));
    memcpy(message->buf + start, &len, sizeof(len));

    virStorageTPMMessagePut(message, 2, 0); /* outside information */
    virStorageTPMMessagePut(message, 4, 0); /* PCRs */

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    handle = virStorageTPMMessageRead32(message);
    virStorageTPMMessageRead32(message); /* size of the parameters */
    virStorageTPMInspectReadPublic(message, found);

    virStorageTPMMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_FLUSH_CONTEXT);
    virStorageTPMMessagePut(message, 4, handle);
    return virStorageTPMMessageSend(message, swtpm) < 0 ? -1 : 1;
}


/* Sets @size to that of an NV index which the platform has made: what an owner,
 * and so a guest, can make does not count. */
static int
virStorageTPMInspectNVSize(virStorageTPMSwtpm *swtpm,
                           virStorageTPMMessage *message,
                           uint32_t nv,
                           size_t *size)
{
    uint32_t attributes;
    size_t policy;
    int rc;

    virStorageTPMMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_NV_READ_PUBLIC);
    virStorageTPMMessagePut(message, 4, nv);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageRead16(message); /* size of all that follows */
    virStorageTPMMessageRead32(message); /* the index */
    virStorageTPMMessageRead16(message); /* hash of the name */
    attributes = virStorageTPMMessageRead32(message);
    virStorageTPMMessageRead2B(message, &policy);
    *size = virStorageTPMMessageRead16(message);

    return !message->overrun && (attributes & TPMA_NV_PLATFORMCREATE);
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

    virStorageTPMMessageInit(message, TPM_ST_SESSIONS, TPM_CC_NV_READ);
    virStorageTPMMessagePut(message, 4, nv);
    virStorageTPMMessagePut(message, 4, nv);
    virStorageTPMMessagePutAuth(message);
    virStorageTPMMessagePut(message, 2, len);
    virStorageTPMMessagePut(message, 2, offset);

    if ((rc = virStorageTPMMessageSend(message, swtpm)) <= 0)
        return rc;

    virStorageTPMMessageRead32(message); /* size of the parameters */
    if (!(part = virStorageTPMMessageRead2B(message, &got)) || got != len)
        return 0;

    memcpy(data + offset, part, len);
    return 1;
}


/* Sets @bytes to what an NV index of the platform holds, at most @max bytes;
 * leaves it NULL if there is none such. Returns -1 only with an error reported. */
static int
virStorageTPMInspectNV(virStorageTPMSwtpm *swtpm,
                       virStorageTPMMessage *message,
                       uint32_t nv,
                       size_t max,
                       virStorageTPMBytes **bytes)
{
    g_autoptr(virStorageTPMBytes) found = g_new0(virStorageTPMBytes, 1);
    size_t size = 0;
    size_t offset;
    int rc;

    if ((rc = virStorageTPMInspectNVSize(swtpm, message, nv, &size)) < 0)
        return -1;

    if (rc == 0 || size == 0 || size > max)
        return 0;

    found->data = g_new0(uint8_t, size);
    found->len = size;
    for (offset = 0; offset < size; offset += VIR_STORAGE_TPM_INSPECT_NV_PART) {
        size_t len = MIN(size - offset, VIR_STORAGE_TPM_INSPECT_NV_PART);

        if ((rc = virStorageTPMInspectNVPart(swtpm, message, nv, offset, len,
                                             found->data)) <= 0)
            return rc;
    }

    *bytes = g_steal_pointer(&found);
    return 0;
}


/* Adds the key of a slot to @found, with its certificate. If the TPM has a
 * certificate that is of no key that it can make, it is not known what its EK is:
 * neither is added. */
static int
virStorageTPMInspectEndorsement(virStorageTPMSwtpm *swtpm,
                                virStorageTPMMessage *message,
                                const virStorageTPMInspectSlot *slot,
                                virStorageVolTPMDef *found)
{
    g_autoptr(virStorageTPMBytes) cert = NULL;
    g_autoptr(virStorageTPMBytes) template = NULL;
    size_t i;

    if (virStorageTPMInspectNV(swtpm, message, slot->cert,
                               VIR_STORAGE_TPM_INSPECT_CERT_MAX, &cert) < 0 ||
        (cert && virStorageTPMInspectNV(swtpm, message, slot->template,
                                        VIR_STORAGE_TPM_INSPECT_TEMPLATE_MAX, &template) < 0))
        return -1;

    if (!cert && !slot->always)
        return 0;

    /* by the TPM's own template, if it has one, and by the default one */
    for (i = template ? 0 : 1; i < 2; i++) {
        g_autoptr(virStorageVolTPMDef) ek = g_new0(virStorageVolTPMDef, 1);
        int rc = virStorageTPMInspectKey(swtpm, message, slot, i == 0 ? template : NULL, ek);

        if (rc < 0)
            return -1;

        if (ek->nendorsements != 1 || STRNEQ(ek->endorsements[0].key, slot->key) ||
            (cert && virStorageTPMEndorsementAddCert(ek, slot->key, cert->data, cert->len) < 0))
            continue;

        virStorageTPMEndorsementMove(found, ek);
        break;
    }

    return 0;
}


int
virStorageTPMInspect(virStorageTPMSwtpm *swtpm,
                     virStorageVolTPMDef *found)
{
    g_autofree virStorageTPMMessage *message = g_new0(virStorageTPMMessage, 1);
    size_t i;

    if (!found->inspection)
        found->inspection = g_new0(virStorageVolTPMInspection, 1);

    if (virStorageTPMInspectStartup(swtpm, message) < 0 ||
        virStorageTPMInspectBanks(swtpm, message, found) < 0 ||
        virStorageTPMInspectLockout(swtpm, message, found->inspection) < 0 ||
        virStorageTPMInspectClear(swtpm, message) < 0)
        return -1;

    for (i = 0; i < G_N_ELEMENTS(virStorageTPMInspectSlots); i++) {
        if (virStorageTPMInspectEndorsement(swtpm, message, &virStorageTPMInspectSlots[i],
                                            found) < 0)
            return -1;
    }

    return 0;
}
