/*
 * testutilstpmhelper.c: shared code of the tests that open TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Either swtpm is run, or a fake one, whose answers are given by the test. Secrets come from
 * a driver of the tests.
 */

#include <config.h>

#include <unistd.h>

#include "testutils.h"
#include "testutilstpmhelper.h"

#include "datatypes.h"
#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static void
testSetEnv(const char *name,
           const char *value)
{
    if (value)
        g_setenv(name, value, TRUE);
    else
        g_unsetenv(name);
}


const char *
testFakeSwtpm(const testFake *fake)
{
    testSetEnv("FAKE_CONTROL", fake->control);
    testSetEnv("FAKE_DATA", fake->data);
    testSetEnv("FAKE_LOG", fake->log);
    return abs_srcdir "/storagetpmdata/fakeswtpm.py";
}


const char *
testRealSwtpm(void)
{
    static char *path;

    if (!path && !(path = virFindFileInPath("swtpm")))
        VIR_TEST_VERBOSE("\nskipped: swtpm is not installed");

    return path;
}


static char *testRunDir;

const char *
testUseRunDir(void)
{
    testRunDir = g_strdup("/dev/shm/storagetpmtest.XXXXXX");

    if (g_mkdtemp(testRunDir)) {
        virStorageTPMScratchInitialize(testRunDir);
        if (virStorageTPMScratchIsMemory())
            return testRunDir;
    }

    VIR_TEST_VERBOSE("\nskipped: /dev/shm is not a tmpfs");
    g_clear_pointer(&testRunDir, g_free);
    return NULL;
}


int
testRunDirCount(void)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    int n = 0;

    if (!testRunDir)
        return 0;

    if (virDirOpen(&dir, testRunDir) < 0)
        return -1;

    while (virDirRead(dir, &ent, NULL) > 0)
        n++;

    return n;
}


int
testRunDirRemove(void)
{
    g_autofree char *dir = g_steal_pointer(&testRunDir);

    if (!dir || rmdir(dir) == 0)
        return 0;

    VIR_TEST_VERBOSE("\nfiles are left in %s", dir);
    return -1;
}


/* The value of a secret is its usage and "'s passphrase". */
static virSecretPtr
testSecretLookupByUsage(virConnectPtr conn,
                        int usageType,
                        const char *usageID)
{
    const unsigned char uuid[VIR_UUID_BUFLEN] = { 1 };

    if (STREQ(usageID, "missing")) {
        virReportError(VIR_ERR_NO_SECRET, "%s", "test has no such secret");
        return NULL;
    }

    return virGetSecret(conn, uuid, usageType, usageID);
}


size_t testFetched;

static unsigned char *
testSecretGetValue(virSecretPtr secret,
                   size_t *len,
                   unsigned int fakeflags G_GNUC_UNUSED)
{
    char *value = g_strdup_printf("%s's passphrase", secret->usageID);

    testFetched++;
    *len = strlen(value);
    return (unsigned char *)value;
}


static virSecretDriver testSecretDriver = {
    .secretLookupByUsage = testSecretLookupByUsage,
    .secretGetValue = testSecretGetValue,
};


void
testUseSecrets(virConnectPtr conn)
{
    conn->secretDriver = &testSecretDriver;
    virSetConnectSecret(conn);
}


char *
testToHex(const uint8_t *data,
          size_t len)
{
    char *hex = g_new0(char, 2 * len + 1);
    size_t i;

    for (i = 0; i < len; i++)
        g_snprintf(hex + 2 * i, 3, "%02x", data[i]);

    return hex;
}


virStorageTPMBytes *
testFromHex(const char *hex)
{
    virStorageTPMBytes *bytes = g_new0(virStorageTPMBytes, 1);
    size_t i;

    bytes->len = strlen(hex) / 2;
    bytes->data = g_new0(uint8_t, bytes->len);
    for (i = 0; i < bytes->len; i++)
        bytes->data[i] = g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]);

    return bytes;
}


/* Where something begins behind @before. */
static char *
testHexOf(const virStorageTPMBytes *der,
          const char *before,
          size_t beforeLen,
          size_t skip,
          size_t len)
{
    const uint8_t *found = memmem(der->data, der->len, before, beforeLen);

    if (!found)
        abort();

    return testToHex(found + beforeLen + skip, len);
}


static void
testReplace(char **text,
            const char *name,
            char *value)
{
    g_autofree char *old = *text;

    *text = virStringReplace(old, name, value);
    g_free(value);
}


char *
testExpand(const char *data)
{
    g_autoptr(virStorageTPMBytes) rsa = testCertificate("ek-rsa2048.pem");
    g_autoptr(virStorageTPMBytes) large = testCertificate("ek-rsa4096.pem");
    g_autoptr(virStorageTPMBytes) ec = testCertificate("ek-secp384r1.pem");
    char *text = g_strdup(data);

    testReplace(&text, "{rsa2048}", testHexOf(rsa, "\x02\x82\x01\x01\x00", 5, 0, 256));
    testReplace(&text, "{rsa4096}", testHexOf(large, "\x02\x82\x02\x01\x00", 5, 0, 512));
    testReplace(&text, "{x}", testHexOf(ec, "\x03\x62\x00\x04", 4, 0, 48));
    testReplace(&text, "{y}", testHexOf(ec, "\x03\x62\x00\x04", 4, 48, 48));
    testReplace(&text, "{rsa2048.crt}", testToHex(rsa->data, rsa->len));
    testReplace(&text, "{secp384r1.crt}", testToHex(ec->data, ec->len));
    testReplace(&text, "{rsa4096.crt+}", testToHex(large->data, 1024));
    testReplace(&text, "{+rsa4096.crt}", testToHex(large->data + 1024, large->len - 1024));
    return text;
}


char *
testDescribe(const virStorageVolTPMDef *tpm)
{
    g_autofree char *banks = tpm->activePcrBanks ?
        virDomainTPMPcrBanksToString(tpm->activePcrBanks) : NULL;
    g_auto(virBuffer) text = VIR_BUFFER_INITIALIZER;
    size_t i;

    virBufferAsprintf(&text, "%s; ", NULLSTR_EMPTY(banks));

    if (tpm->inspection && tpm->inspection->limit > 0)
        virBufferAsprintf(&text, "%u of %u%s; ", tpm->inspection->tries, tpm->inspection->limit,
                          tpm->inspection->locked ? ", locked" : "");

    if (tpm->inspection && tpm->inspection->profile)
        virBufferAsprintf(&text, "%s %u; ", tpm->inspection->profile,
                          tpm->inspection->formatLevel);

    if (tpm->inspection && tpm->inspection->nv.told)
        virBufferAsprintf(&text, "nv %u %u+%u %u+%u; ", tpm->inspection->nv.indices,
                          tpm->inspection->nv.objects, tpm->inspection->nv.objectsAvailable,
                          tpm->inspection->nv.counters, tpm->inspection->nv.countersAvailable);

    for (i = 0; i < tpm->nendorsements; i++)
        virBufferAsprintf(&text, "%s %s%s; ", tpm->endorsements[i].key,
                          tpm->endorsements[i].fingerprint,
                          tpm->endorsements[i].certificate ? " +" : "");

    return virBufferContentAndReset(&text);
}
