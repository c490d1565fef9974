/*
 * tpmhelper_inspect.c: ask a TPM 2.0 what it is
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads endorsement keys and their certificates, the active PCR banks, lockout, the
 * room left in NV memory and the profile. A guest may have changed all of what a TPM
 * answers, but its endorsement seed and what the platform has put there.
 */

#include <config.h>

#include "storage_tpm_bytes.h"
#include "storage_tpm_certificate.h"
#include "storage_tpm_endorsement.h"
#include "tpmhelper_inspect.h"
#include "tpmhelper_key.h"
#include "tpmhelper_message.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virjson.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* TPM 2.0 Library, part 2: all numbers are big-endian. */
enum {
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
    TPM_PT_HR_NV_INDEX = 0x202,
    TPM_PT_HR_PERSISTENT = 0x208,
    TPM_PT_HR_PERSISTENT_AVAIL = 0x209,
    TPM_PT_NV_COUNTERS = 0x20a,
    TPM_PT_NV_COUNTERS_AVAIL = 0x20b,
    TPM_PT_LOCKOUT_COUNTER = 0x20e,
    TPM_PT_MAX_AUTH_FAIL = 0x20f,
    TPMA_PERMANENT_IN_LOCKOUT = 1 << 9,
    TPMA_NV_PLATFORMCREATE = 1 << 30,

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
#define VIR_TPM_HELPER_INSPECT_EK_LOW 0x000300b2
#define VIR_TPM_HELPER_INSPECT_EK_HIGH 0x000300f2

/* TCG EK Credential Profile: the keys that swtpm_setup makes, the NV index of
 * their certificate, and that of their template where it is not the default
 * one. Every TPM has the keys of which swtpm_setup makes both by default. */
typedef struct _virTPMHelperInspectSlot virTPMHelperInspectSlot;
struct _virTPMHelperInspectSlot {
    const char *key;
    uint32_t cert;
    uint32_t template;
    uint16_t type;
    uint16_t size;   /* in bits, or the TPM_ECC_CURVE */
    bool high;       /* range of the default template */
    bool always;     /* whether it is made without a certificate as well */
};

static const virTPMHelperInspectSlot virTPMHelperInspectSlots[] = {
    { "rsa2048", 0x01c00002, 0x01c00004, TPM_ALG_RSA, 2048, false, true },
    { "rsa3072", 0x01c0001c, 0x01c0001d, TPM_ALG_RSA, 3072, true, false },
    { "rsa4096", 0x01c0001e, 0x01c0001f, TPM_ALG_RSA, 4096, true, false },
    { "secp384r1", 0x01c00016, 0x01c00017, TPM_ALG_ECC, TPM_ECC_NIST_P384, true, true },
};

/* TCG EK Credential Profile: PolicyA with SHA-256, PolicyB with SHA-384. */
static const uint8_t virTPMHelperInspectPolicyA[] = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8,
    0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64,
    0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};
static const uint8_t virTPMHelperInspectPolicyB[] = {
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc,
    0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
    0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15,
    0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
};

/* What one TPM2_NV_Read gives at most, by the PC Client profile. */
#define VIR_TPM_HELPER_INSPECT_NV_PART 1024
#define VIR_TPM_HELPER_INSPECT_CERT_MAX (16 * 1024)
#define VIR_TPM_HELPER_INSPECT_TEMPLATE_MAX 1024

/* TPM2_Startup; a TPM that is started up already is as good. */
static int
virTPMHelperInspectStartup(virTPMHelperSwtpm *swtpm,
                           virTPMHelperMessage *message)
{
    virTPMHelperMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_STARTUP);
    virTPMHelperMessagePut(message, 2, TPM_SU_CLEAR);
    return virTPMHelperMessageSend(message, swtpm);
}


static int
virTPMHelperInspectBank(uint16_t alg)
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
virTPMHelperInspectReadBanks(virTPMHelperMessage *message,
                             virStorageVolTPMDef *found)
{
    uint32_t count = virTPMHelperMessageRead32(message);
    size_t i;

    for (i = 0; i < count && !message->overrun; i++) {
        int bank = virTPMHelperInspectBank(virTPMHelperMessageRead16(message));
        const uint8_t *size = virTPMHelperMessageRead(message, 1);
        size_t len = size ? *size : 0;
        const uint8_t *selected = virTPMHelperMessageRead(message, len);
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
virTPMHelperInspectBanks(virTPMHelperSwtpm *swtpm,
                         virTPMHelperMessage *message,
                         virStorageVolTPMDef *found)
{
    int rc;

    virTPMHelperMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    virTPMHelperMessagePut(message, 4, TPM_CAP_PCRS);
    virTPMHelperMessagePut(message, 4, 0);
    virTPMHelperMessagePut(message, 4, 1);

    if ((rc = virTPMHelperMessageSend(message, swtpm)) <= 0)
        return rc;

    virTPMHelperMessageRead(message, 1); /* more data */
    virTPMHelperMessageRead32(message);  /* capability */
    virTPMHelperInspectReadBanks(message, found);
    return 1;
}


static void
virTPMHelperInspectSetProperty(virStorageVolTPMInspection *inspection,
                               uint32_t property,
                               uint32_t value)
{
    switch (property) {
    case TPM_PT_PERMANENT:
        inspection->locked = value & TPMA_PERMANENT_IN_LOCKOUT;
        return;
    case TPM_PT_LOCKOUT_COUNTER:
        inspection->tries = value;
        return;
    case TPM_PT_MAX_AUTH_FAIL:
        inspection->limit = value;
        return;
    case TPM_PT_HR_NV_INDEX:
        inspection->nv.indices = value;
        return;
    case TPM_PT_HR_PERSISTENT:
        inspection->nv.objects = value;
        return;
    case TPM_PT_HR_PERSISTENT_AVAIL:
        inspection->nv.objectsAvailable = value;
        inspection->nv.told = true;
        return;
    case TPM_PT_NV_COUNTERS:
        inspection->nv.counters = value;
        return;
    case TPM_PT_NV_COUNTERS_AVAIL:
        inspection->nv.countersAvailable = value;
        return;
    }
}


/* Learns how often a wrong password was tried, whether more are refused, what NV
 * memory holds and for how much it has room. A TPM does not tell that in bytes, but
 * estimates how many more of the largest objects, or of counters, there can be. */
static int
virTPMHelperInspectProperties(virTPMHelperSwtpm *swtpm,
                              virTPMHelperMessage *message,
                              virStorageVolTPMInspection *inspection)
{
    uint32_t count;
    size_t i;
    int rc;

    virTPMHelperMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_GET_CAPABILITY);
    virTPMHelperMessagePut(message, 4, TPM_CAP_TPM_PROPERTIES);
    virTPMHelperMessagePut(message, 4, TPM_PT_PERMANENT);
    virTPMHelperMessagePut(message, 4, TPM_PT_MAX_AUTH_FAIL - TPM_PT_PERMANENT + 1);

    if ((rc = virTPMHelperMessageSend(message, swtpm)) <= 0)
        return rc;

    virTPMHelperMessageRead(message, 1); /* more data */
    virTPMHelperMessageRead32(message);  /* capability */
    count = virTPMHelperMessageRead32(message);

    for (i = 0; i < count && !message->overrun; i++) {
        uint32_t property = virTPMHelperMessageRead32(message);
        uint32_t value = virTPMHelperMessageRead32(message);

        if (!message->overrun)
            virTPMHelperInspectSetProperty(inspection, property, value);
    }

    return 1;
}


/* Learns profile and format level of the state, which swtpm tells if it has profiles:
 *   {"ActiveProfile":{"Name":"default-v1","StateFormatLevel":7,"Commands":"..."}} */
static int
virTPMHelperInspectProfile(virTPMHelperSwtpm *swtpm,
                           virStorageVolTPMInspection *inspection)
{
    g_autofree char *text = NULL;
    g_autoptr(virJSONValue) json = NULL;
    virJSONValue *profile;
    const char *name;

    if (virTPMHelperSwtpmGetProfile(swtpm, &text) < 0)
        return -1;

    if (!text || !(json = virJSONValueFromString(text))) {
        virResetLastError();
        return 0;
    }

    /* what is no plain text cannot stand in XML */
    if (!(profile = virJSONValueObjectGetObject(json, "ActiveProfile")) ||
        !(name = virJSONValueObjectGetString(profile, "Name")) ||
        !*name || !virStringIsPrintable(name))
        return 0;

    inspection->profile = g_strdup(name);
    ignore_value(virJSONValueObjectGetNumberUint(profile, "StateFormatLevel",
                                                 &inspection->formatLevel));
    return 0;
}


/* TPM2_Clear, by the authority of the platform, which nobody has restricted since
 * this TPM was started up: what its owner has put into it goes, and so do the
 * passwords that he has set. The endorsement seed stays, and what the platform has
 * put there. */
static int
virTPMHelperInspectClear(virTPMHelperSwtpm *swtpm,
                         virTPMHelperMessage *message)
{
    virTPMHelperMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CLEAR_CONTROL);
    virTPMHelperMessagePut(message, 4, TPM_RH_PLATFORM);
    virTPMHelperMessagePutAuth(message);
    virTPMHelperMessagePut(message, 1, 0); /* do not disable it */

    if (virTPMHelperMessageSend(message, swtpm) < 0)
        return -1;

    virTPMHelperMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CLEAR);
    virTPMHelperMessagePut(message, 4, TPM_RH_PLATFORM);
    virTPMHelperMessagePutAuth(message);
    return virTPMHelperMessageSend(message, swtpm);
}


/* Takes a TPMT_SYM_DEF_OBJECT, and the scheme without parameters that an EK has. */
static bool
virTPMHelperInspectSkipSchemes(virTPMHelperMessage *message)
{
    if (virTPMHelperMessageRead16(message) != TPM_ALG_NULL)
        virTPMHelperMessageRead32(message); /* key bits, mode */

    return virTPMHelperMessageRead16(message) == TPM_ALG_NULL && !message->overrun;
}


/* Takes a TPM2B_PUBLIC. What is no EK as the profile has them is passed over. */
static void
virTPMHelperInspectReadPublic(virTPMHelperMessage *message,
                              virStorageVolTPMDef *found)
{
    uint16_t type;
    uint32_t parameter;
    const uint8_t *x;
    const uint8_t *y;
    size_t xlen;
    size_t ylen;

    virTPMHelperMessageRead16(message); /* size */
    type = virTPMHelperMessageRead16(message);
    virTPMHelperMessageRead16(message); /* hash of the name */
    virTPMHelperMessageRead32(message); /* attributes */
    virTPMHelperMessageRead2B(message, &xlen); /* policy */

    if ((type != TPM_ALG_RSA && type != TPM_ALG_ECC) ||
        !virTPMHelperInspectSkipSchemes(message))
        return;

    if (type == TPM_ALG_RSA) {
        virTPMHelperMessageRead16(message); /* key bits */
        parameter = virTPMHelperMessageRead32(message);
        if ((x = virTPMHelperMessageRead2B(message, &xlen)))
            ignore_value(virTPMHelperKeyAddRSA(found, x, xlen,
                                               parameter ? parameter : 65537));
        return;
    }

    parameter = virTPMHelperMessageRead16(message);
    if (virTPMHelperMessageRead16(message) != TPM_ALG_NULL) /* key derivation */
        virTPMHelperMessageRead16(message);
    x = virTPMHelperMessageRead2B(message, &xlen);
    y = virTPMHelperMessageRead2B(message, &ylen);
    if (x && y)
        ignore_value(virTPMHelperKeyAddECC(found, parameter, x, xlen, y, ylen));
}


/* Puts the default template of a key: a TPMT_PUBLIC. */
static void
virTPMHelperInspectPutTemplate(virTPMHelperMessage *message,
                               const virTPMHelperInspectSlot *slot)
{
    const uint8_t *policy = slot->high ? virTPMHelperInspectPolicyB : virTPMHelperInspectPolicyA;
    size_t len = slot->high ? sizeof(virTPMHelperInspectPolicyB) : sizeof(virTPMHelperInspectPolicyA);
    size_t unique = slot->high ? 0 : slot->size / 8;

    virTPMHelperMessagePut(message, 2, slot->type);
    virTPMHelperMessagePut(message, 2, slot->high ? TPM_ALG_SHA384 : TPM_ALG_SHA256);
    virTPMHelperMessagePut(message, 4, slot->high ? VIR_TPM_HELPER_INSPECT_EK_HIGH :
                                                     VIR_TPM_HELPER_INSPECT_EK_LOW);
    virTPMHelperMessagePut(message, 2, len);
    virTPMHelperMessagePutBytes(message, policy, len);
    virTPMHelperMessagePut(message, 2, TPM_ALG_AES);
    virTPMHelperMessagePut(message, 2, slot->high ? 256 : 128);
    virTPMHelperMessagePut(message, 2, TPM_ALG_CFB);
    virTPMHelperMessagePut(message, 2, TPM_ALG_NULL); /* scheme */
    virTPMHelperMessagePut(message, 2, slot->size);

    if (slot->type == TPM_ALG_ECC) {
        virTPMHelperMessagePut(message, 2, TPM_ALG_NULL); /* key derivation */
        virTPMHelperMessagePut(message, 2, 0);            /* x */
    } else {
        virTPMHelperMessagePut(message, 4, 0); /* the default exponent */
    }

    /* y, or the modulus: of zeros, which the message is full of */
    virTPMHelperMessagePut(message, 2, unique);
    message->len += unique;
}


/* TPM2_CreatePrimary in the endorsement hierarchy: makes @found the key that the
 * endorsement seed gives with a template; NULL stands for the default one. */
static int
virTPMHelperInspectKey(virTPMHelperSwtpm *swtpm,
                       virTPMHelperMessage *message,
                       const virTPMHelperInspectSlot *slot,
                       const virStorageTPMBytes *template,
                       virStorageVolTPMDef *found)
{
    uint16_t len;
    uint32_t handle;
    size_t start;
    int rc;

    virTPMHelperMessageInit(message, TPM_ST_SESSIONS, TPM_CC_CREATE_PRIMARY);
    virTPMHelperMessagePut(message, 4, TPM_RH_ENDORSEMENT);
    virTPMHelperMessagePutAuth(message);
    virTPMHelperMessagePut(message, 2, 4); /* length of what is sensitive: */
    virTPMHelperMessagePut(message, 2, 0); /* password */
    virTPMHelperMessagePut(message, 2, 0); /* data */

    start = message->len;
    message->len += sizeof(len);
    if (template)
        virTPMHelperMessagePutBytes(message, template->data, template->len);
    else
        virTPMHelperInspectPutTemplate(message, slot);
    len = GUINT16_TO_BE(message->len - start - sizeof(len));
    memcpy(message->buf + start, &len, sizeof(len));

    virTPMHelperMessagePut(message, 2, 0); /* outside information */
    virTPMHelperMessagePut(message, 4, 0); /* PCRs */

    if ((rc = virTPMHelperMessageSend(message, swtpm)) <= 0)
        return rc;

    handle = virTPMHelperMessageRead32(message);
    virTPMHelperMessageRead32(message); /* size of the parameters */
    virTPMHelperInspectReadPublic(message, found);

    virTPMHelperMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_FLUSH_CONTEXT);
    virTPMHelperMessagePut(message, 4, handle);
    return virTPMHelperMessageSend(message, swtpm) < 0 ? -1 : 1;
}


/* Sets @size to that of an NV index which the platform has made: what an owner,
 * and so a guest, can make does not count. */
static int
virTPMHelperInspectNVSize(virTPMHelperSwtpm *swtpm,
                          virTPMHelperMessage *message,
                          uint32_t nv,
                          size_t *size)
{
    uint32_t attributes;
    size_t policy;
    int rc;

    virTPMHelperMessageInit(message, TPM_ST_NO_SESSIONS, TPM_CC_NV_READ_PUBLIC);
    virTPMHelperMessagePut(message, 4, nv);

    if ((rc = virTPMHelperMessageSend(message, swtpm)) <= 0)
        return rc;

    virTPMHelperMessageRead16(message); /* size of all that follows */
    virTPMHelperMessageRead32(message); /* the index */
    virTPMHelperMessageRead16(message); /* hash of the name */
    attributes = virTPMHelperMessageRead32(message);
    virTPMHelperMessageRead2B(message, &policy);
    *size = virTPMHelperMessageRead16(message);

    return !message->overrun && (attributes & TPMA_NV_PLATFORMCREATE);
}


/* TPM2_NV_Read with the index's own, empty password. */
static int
virTPMHelperInspectNVPart(virTPMHelperSwtpm *swtpm,
                          virTPMHelperMessage *message,
                          uint32_t nv,
                          size_t offset,
                          size_t len,
                          uint8_t *data)
{
    const uint8_t *part;
    size_t got;
    int rc;

    virTPMHelperMessageInit(message, TPM_ST_SESSIONS, TPM_CC_NV_READ);
    virTPMHelperMessagePut(message, 4, nv);
    virTPMHelperMessagePut(message, 4, nv);
    virTPMHelperMessagePutAuth(message);
    virTPMHelperMessagePut(message, 2, len);
    virTPMHelperMessagePut(message, 2, offset);

    if ((rc = virTPMHelperMessageSend(message, swtpm)) <= 0)
        return rc;

    virTPMHelperMessageRead32(message); /* size of the parameters */
    if (!(part = virTPMHelperMessageRead2B(message, &got)) || got != len)
        return 0;

    memcpy(data + offset, part, len);
    return 1;
}


/* Sets @bytes to what an NV index of the platform holds, at most @max bytes;
 * leaves it NULL if there is none such. Returns -1 only if swtpm does not answer. */
static int
virTPMHelperInspectNV(virTPMHelperSwtpm *swtpm,
                      virTPMHelperMessage *message,
                      uint32_t nv,
                      size_t max,
                      virStorageTPMBytes **bytes)
{
    g_autoptr(virStorageTPMBytes) found = g_new0(virStorageTPMBytes, 1);
    size_t size = 0;
    size_t offset;
    int rc;

    if ((rc = virTPMHelperInspectNVSize(swtpm, message, nv, &size)) < 0)
        return -1;

    if (rc == 0 || size == 0 || size > max)
        return 0;

    found->data = g_new0(uint8_t, size);
    found->len = size;
    for (offset = 0; offset < size; offset += VIR_TPM_HELPER_INSPECT_NV_PART) {
        size_t len = MIN(size - offset, VIR_TPM_HELPER_INSPECT_NV_PART);

        if ((rc = virTPMHelperInspectNVPart(swtpm, message, nv, offset, len,
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
virTPMHelperInspectEndorsement(virTPMHelperSwtpm *swtpm,
                               virTPMHelperMessage *message,
                               const virTPMHelperInspectSlot *slot,
                               virStorageVolTPMDef *found)
{
    g_autoptr(virStorageTPMBytes) cert = NULL;
    g_autoptr(virStorageTPMBytes) template = NULL;
    size_t i;

    if (virTPMHelperInspectNV(swtpm, message, slot->cert,
                              VIR_TPM_HELPER_INSPECT_CERT_MAX, &cert) < 0 ||
        (cert && virTPMHelperInspectNV(swtpm, message, slot->template,
                                       VIR_TPM_HELPER_INSPECT_TEMPLATE_MAX, &template) < 0))
        return -1;

    if (!cert && !slot->always)
        return 0;

    /* by the TPM's own template, if it has one, and by the default one */
    for (i = template ? 0 : 1; i < 2; i++) {
        g_autoptr(virStorageVolTPMDef) ek = g_new0(virStorageVolTPMDef, 1);
        int rc = virTPMHelperInspectKey(swtpm, message, slot, i == 0 ? template : NULL, ek);

        if (rc < 0)
            return -1;

        if (ek->nendorsements != 1 || STRNEQ(ek->endorsements[0].key, slot->key) ||
            (cert && virStorageTPMCertificateAdd(ek, slot->key, cert->data, cert->len) < 0))
            continue;

        virStorageTPMEndorsementMove(found, ek);
        break;
    }

    return 0;
}


int
virTPMHelperInspect(virTPMHelperSwtpm *swtpm,
                    virStorageVolTPMDef *found)
{
    g_autofree virTPMHelperMessage *message = g_new0(virTPMHelperMessage, 1);
    size_t i;

    if (!found->inspection)
        found->inspection = g_new0(virStorageVolTPMInspection, 1);

    if (virTPMHelperInspectStartup(swtpm, message) < 0 ||
        virTPMHelperInspectBanks(swtpm, message, found) < 0 ||
        virTPMHelperInspectProperties(swtpm, message, found->inspection) < 0 ||
        virTPMHelperInspectProfile(swtpm, found->inspection) < 0 ||
        virTPMHelperInspectClear(swtpm, message) < 0)
        return -1;

    for (i = 0; i < G_N_ELEMENTS(virTPMHelperInspectSlots); i++) {
        if (virTPMHelperInspectEndorsement(swtpm, message, &virTPMHelperInspectSlots[i],
                                           found) < 0)
            return -1;
    }

    return 0;
}
