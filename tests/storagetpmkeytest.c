/*
 * storagetpmkeytest.c: endorsement keys of TPM volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How keys and certificates become one description, and whether a state is of the TPM
 * that a description names.
 */

#include <config.h>

#include <fcntl.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_certificate.h"
#include "storage/storage_tpm_endorsement.h"
#include "storage/tpmhelper_key.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* As 'openssl x509 -modulus' shows it of ek-rsa2048.pem, and the point of
 * ek-secp384r1.pem. */
static const char testModulus[] =
    "bdde5c9042ae165cea79b1d0509d3b7e589b6a316c488cc9e3cce1d195eddc56"
    "b638d95db1508df363161af23e602c4166f063e77fb97edea932416fd2122aad"
    "45136e141c670f93fc6d310cdd1a2fd26fe27d9abf550804e80bc992bda408c8"
    "58b534383f962933f53df122217a24df936caf2cbab5acff3b23d49d5d847568"
    "3762123004878fe511066371d8e1dcb1efb01d4637956144f86845731c8aadd5"
    "ad5465b0b890a12239953ea05d9af3d21001edb931ef10e2cd1171f613a83352"
    "6526fc61c0519888e548cde813c1989db982141d53c526e61756ae478699fc21"
    "c4680eeef837bedea05ec700eea07f1e6382890c69b5274f5ee280f999cbc9dd";

static const char testPoint[] =
    "c25219a0b6846c3ea00bdba9dcb38da79b294013b1202e683f643a6317458385"
    "8da300baef32be628ee65249b469e099e7466105bf009f2bcd71ef58204882d4"
    "f036bca1d492ed2659dbc1e57a48697c0e060a0dc3863d1d71009bd4c98e0a28";


static GByteArray *
testHex(const char *hex)
{
    GByteArray *bytes = g_byte_array_new();

    for (; *hex; hex += 2) {
        guint8 byte = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);

        g_byte_array_append(bytes, &byte, 1);
    }

    return bytes;
}


static int
testAddCert(virStorageVolTPMDef *tpm,
            const char *key,
            const char *fixture)
{
    g_autoptr(virStorageTPMBytes) der = testCertificate(fixture);

    return virStorageTPMCertificateAdd(tpm, key, der->data, der->len);
}


static int
testAddRSA(virStorageVolTPMDef *tpm)
{
    g_autoptr(GByteArray) modulus = testHex(testModulus);

    return virTPMHelperKeyAddRSA(tpm, modulus->data, modulus->len, 65537);
}


static int
testAddECC(virStorageVolTPMDef *tpm)
{
    g_autoptr(GByteArray) point = testHex(testPoint);

    return virTPMHelperKeyAddECC(tpm, 4, point->data, 48, point->data + 48, 48);
}


/* @expect: "KEY FINGERPRINT, with a + if there is a certificate, and so on" */
static int
testExpectKeys(const virStorageVolTPMDef *tpm,
               const char *expect)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    size_t i;

    for (i = 0; i < tpm->nendorsements; i++)
        virBufferAsprintf(&buf, "%s %s%s\n", tpm->endorsements[i].key,
                          NULLSTR(tpm->endorsements[i].fingerprint),
                          tpm->endorsements[i].certificate ? " +" : "");

    if (testExpectNoError() < 0)
        return -1;

    return virTestCompareToString(expect, NULLSTR_EMPTY(virBufferCurrentContent(&buf)));
}


/* A key and its certificate have the same fingerprint, in either order. */
static int
testKeysAndCertificates(const void *opaque)
{
    const bool *keysFirst = opaque;
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);

    if (*keysFirst &&
        (testAddECC(tpm) < 0 || testAddRSA(tpm) < 0 ||
         testExpectKeys(tpm, "rsa2048 " FINGERPRINT_RSA "\nsecp384r1 " FINGERPRINT_EC "\n") < 0))
        return -1;

    if (testAddCert(tpm, "secp384r1", "ek-secp384r1.pem") < 0 ||
        testAddCert(tpm, "rsa2048", "ek-rsa2048.pem") < 0 ||
        testExpectKeys(tpm, "rsa2048 " FINGERPRINT_RSA " +\nsecp384r1 " FINGERPRINT_EC " +\n") < 0)
        return -1;

    if (!*keysFirst &&
        (testAddECC(tpm) < 0 || testAddRSA(tpm) < 0 ||
         testExpectKeys(tpm, "rsa2048 " FINGERPRINT_RSA " +\nsecp384r1 " FINGERPRINT_EC " +\n") < 0))
        return -1;

    return testExpectEndorsement(&tpm->endorsements[1], "secp384r1", FINGERPRINT_EC);
}


static int
testKeysOrder(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);

    if (testAddCert(tpm, "m", "ek-rsa2048.pem") < 0 ||
        testAddCert(tpm, "z", "ek-rsa2048.pem") < 0 ||
        testAddCert(tpm, "a", "ek-rsa2048.pem") < 0 ||
        testAddCert(tpm, "n", "ek-rsa2048.pem") < 0 ||
        testAddCert(tpm, "a", "ek-rsa2048.pem") < 0)
        return -1;

    return testExpectKeys(tpm,
                          "a " FINGERPRINT_RSA " +\nm " FINGERPRINT_RSA " +\n"
                          "n " FINGERPRINT_RSA " +\nz " FINGERPRINT_RSA " +\n");
}


/* A key has no certificate of another key, whichever comes first. */
static int
testKeysKept(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);

    if (testAddRSA(tpm) < 0 ||
        testAddCert(tpm, "rsa2048", "ek-secp384r1.pem") == 0 ||
        testAddCert(tpm, "secp384r1", "ek-rsa2048.pem") < 0 ||
        testAddECC(tpm) < 0)
        return -1;

    return testExpectKeys(tpm,
                          "rsa2048 " FINGERPRINT_RSA "\nsecp384r1 " FINGERPRINT_EC "\n");
}


/* What is none leaves no trace. */
static int
testKeysNot(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);
    g_autoptr(virStorageTPMBytes) der = testCertificate("ek-rsa2048.pem");
    g_autoptr(GByteArray) point = testHex(testPoint);
    const uint8_t zeros[4096] = { 0 };
    size_t len;

    for (len = 0; len < der->len; len++) {
        g_autofree uint8_t *cut = g_new0(uint8_t, len + 1);

        memcpy(cut, der->data, len);
        if (virStorageTPMCertificateAdd(tpm, "rsa2048", cut, len) == 0)
            return -1;
    }

    if (virStorageTPMCertificateAdd(tpm, "rsa2048", zeros, sizeof(zeros)) == 0 ||
        virTPMHelperKeyAddRSA(tpm, zeros, 0, 65537) == 0 ||
        virTPMHelperKeyAddECC(tpm, 0, point->data, 48, point->data + 48, 48) == 0 ||
        virTPMHelperKeyAddECC(tpm, 6, point->data, 48, point->data + 48, 48) == 0 ||
        virTPMHelperKeyAddECC(tpm, 4, point->data, 0, point->data + 48, 0) == 0 ||
        virTPMHelperKeyAddECC(tpm, 3, point->data, 48, point->data + 48, 48) == 0)
        return -1;

    return testExpectKeys(tpm, "");
}


typedef struct _testIsOfData testIsOfData;
struct _testIsOfData {
    const char *described[2]; /* certificates; "" for none, NULL for no key */
    const char *has;          /* what the state has, NULL for nothing */
    size_t cut;               /* bytes missing from it */
    virTristateBool is;
};


/* Bytes that end where their memory ends. */
static uint8_t *
testJoin(const virStorageTPMBytes *a,
         const virStorageTPMBytes *b,
         size_t *len)
{
    uint8_t *joined = g_new0(uint8_t, a->len + b->len);

    memcpy(joined, a->data, a->len);
    if (b->len > 0)
        memcpy(joined + a->len, b->data, b->len);

    *len = a->len + b->len;
    return joined;
}


static int
testIsOf(const void *opaque)
{
    const testIsOfData *data = opaque;
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);
    g_autoptr(virStorageTPMBytes) state = testState("tpm2");
    g_autoptr(virStorageTPMBytes) der = data->has ? testCertificate(data->has) : testState("");
    g_autofree uint8_t *joined = NULL;
    size_t len;
    size_t i;

    tpm->endorsements = g_new0(virStorageVolTPMEndorsement, 2);
    for (i = 0; i < 2 && data->described[i]; i++) {
        g_autofree char *file = g_strdup_printf("storagetpmdata/%s", data->described[i]);

        tpm->endorsements[i].certificate = *data->described[i] ? testFixture(file) : g_strdup("");
        tpm->nendorsements++;
    }

    der->len -= data->cut;
    joined = testJoin(state, der, &len);

    if (virStorageTPMEndorsementMatchState(tpm, joined, len) != data->is)
        return -1;

    return testExpectNoError();
}


#define DO_IS_OF(name, is, has, cut, ...) \
    do { \
        const testIsOfData data = { \
            { __VA_ARGS__ }, has, cut, VIR_TRISTATE_BOOL_ ## is \
        }; \
        if (virTestRun("state of a TPM: " name, testIsOf, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testKeys(void)
{
    const bool yes = true;
    const bool no = false;
    int ret = 0;

    if (virTestRun("keys, then certificates", testKeysAndCertificates, &yes) < 0)
        ret = -1;
    if (virTestRun("certificates, then keys", testKeysAndCertificates, &no) < 0)
        ret = -1;
    if (virTestRun("keys in order", testKeysOrder, NULL) < 0)
        ret = -1;
    if (virTestRun("keys with other certificates", testKeysKept, NULL) < 0)
        ret = -1;
    if (virTestRun("neither key nor certificate", testKeysNot, NULL) < 0)
        ret = -1;

    DO_IS_OF("with its certificate", YES, "ek-rsa2048.pem", 0, "ek-rsa2048.pem");
    DO_IS_OF("with the second one", YES, "ek-rsa2048.pem", 0,
             "ek-secp384r1.pem", "ek-rsa2048.pem");
    DO_IS_OF("with a part of it", NO, "ek-certified.pem", 1, "ek-certified.pem");
    DO_IS_OF("with another", NO, "ek-certified.pem", 0, "ek-secp384r1.pem");
    DO_IS_OF("with one that is not for endorsement keys", ABSENT, "ek-rsa2048.pem", 0,
             "ek-secp384r1.pem");
    DO_IS_OF("without", ABSENT, NULL, 0, "ek-rsa2048.pem", "");
    DO_IS_OF("that has none", ABSENT, NULL, 0, "", "");
    DO_IS_OF("that names none", ABSENT, "ek-certified.pem", 0, "", "");
    DO_IS_OF("that has no keys", ABSENT, "ek-rsa2048.pem", 0, NULL);
    DO_IS_OF("whose certificate is none", ABSENT, NULL, 0, "setup-2.0.args");

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testKeys() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
