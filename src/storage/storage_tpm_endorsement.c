/*
 * storage_tpm_endorsement.c: endorsement keys (EK) of TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Keeps the EKs of a description in order, and compares them with the bytes of a
 * state. No certificate is parsed here.
 */

#include <config.h>

#include "storage_tpm_endorsement.h"
#include "viralloc.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


virStorageVolTPMEndorsement *
virStorageTPMEndorsementGet(virStorageVolTPMDef *tpm,
                            const char *key)
{
    virStorageVolTPMEndorsement endorsement = { 0 };
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        int order = strcmp(tpm->endorsements[i].key, key);

        if (order == 0)
            return &tpm->endorsements[i];
        if (order > 0)
            break;
    }

    endorsement.key = g_strdup(key);
    /* fails only for a place that there is not */
    ignore_value(VIR_INSERT_ELEMENT(tpm->endorsements, i, tpm->nendorsements, endorsement));
    return &tpm->endorsements[i];
}


void
virStorageTPMEndorsementMove(virStorageVolTPMDef *tpm,
                             virStorageVolTPMDef *from)
{
    size_t i;

    for (i = 0; i < from->nendorsements; i++) {
        virStorageVolTPMEndorsement *endorsement;
        virStorageVolTPMEndorsement old;

        endorsement = virStorageTPMEndorsementGet(tpm, from->endorsements[i].key);
        old = *endorsement;
        *endorsement = from->endorsements[i];
        from->endorsements[i] = old;
    }

    virStorageVolTPMDefClearEndorsements(from);
}


/* The end of a certificate's signature: from 49 to 96 bytes, which no other
 * certificate has. This is asked whenever a volume is looked at, and all of the
 * certificate would take longer. */
static guchar *
virStorageTPMEndorsementSignatureEnd(const char *pem,
                                     size_t *len)
{
    const char *end = strstr(pem, "\n-----END CERTIFICATE");
    const char *begin = end;
    g_autofree char *lines = NULL;
    size_t i;

    /* the last two lines: each stands for whole bytes */
    for (i = 0; begin && i < 2; i++)
        begin = memrchr(pem, '\n', begin - pem);

    if (!begin)
        return NULL;

    lines = g_strndup(begin, end - begin);
    return g_base64_decode(lines, len);
}


static bool
virStorageTPMEndorsementIsIn(const virStorageVolTPMEndorsement *endorsement,
                             const uint8_t *data,
                             size_t len)
{
    size_t sigLen = 0;
    g_autofree guchar *signature = virStorageTPMEndorsementSignatureEnd(endorsement->certificate,
                                                                        &sigLen);

    return sigLen > 0 && memmem(data, len, signature, sigLen);
}


/* Whether there is a certificate of an endorsement key, of whichever TPM: it has
 * the extended key usage tcg-kp-EKCertificate, 2.23.133.8.1. */
static bool
virStorageTPMEndorsementHasAny(const uint8_t *data,
                               size_t len)
{
    const uint8_t usage[] = { 0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x01 };

    return memmem(data, len, usage, sizeof(usage));
}


virTristateBool
virStorageTPMEndorsementMatchState(const virStorageVolTPMDef *tpm,
                                   const uint8_t *data,
                                   size_t len)
{
    bool named = false;
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++) {
        const virStorageVolTPMEndorsement *endorsement = &tpm->endorsements[i];

        if (!endorsement->certificate || !*endorsement->certificate)
            continue;

        if (virStorageTPMEndorsementIsIn(endorsement, data, len))
            return VIR_TRISTATE_BOOL_YES;
        named = true;
    }

    if (named && virStorageTPMEndorsementHasAny(data, len))
        return VIR_TRISTATE_BOOL_NO;

    return VIR_TRISTATE_BOOL_ABSENT;
}
