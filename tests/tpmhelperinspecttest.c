/*
 * tpmhelperinspecttest.c: what libvirt_tpmhelper learns from a TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A fake swtpm gives responses of a TPM, whole, cut and random; the real one runs a TPM
 * that its guest has used.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>

#include "testutils.h"
#include "testutilstpmhelper.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_endorsement.h"
#include "storage/tpmhelper_inspect.h"
#include "virendian.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static virTPMHelperSwtpmSpec
testSpec(const char *binary)
{
    virTPMHelperSwtpmSpec spec = { binary, true, NULL, -1, 60 };

    return spec;
}


typedef struct _testInspectData testInspectData;
struct _testInspectData {
    const char *control;
    const char *data;
    const char *learned; /* NULL: swtpm does not answer */
};


static int
testInspect(const void *opaque)
{
    const testInspectData *data = opaque;
    g_autofree char *expanded = testExpand(data->data);
    const testFake fake = { data->control, expanded, NULL, false };
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
    const virTPMHelperSwtpmSpec spec = testSpec(testFakeSwtpm(&fake));
    g_autofree char *learned = NULL;
    int rc;

    if (!(swtpm = virTPMHelperSwtpmNew(&spec, NULL)))
        return -1;

    rc = virTPMHelperInspect(swtpm, found);

    if (!data->learned) {
        const char *failed = NULL;

        if (rc == 0 || virTPMHelperSwtpmGetFailure(swtpm, &failed) != VIR_TPM_HELPER_SWTPM_REFUSED)
            return -1;
        return virTestCompareToString("a TPM command", failed);
    }

    if (rc < 0 || testExpectNoError() < 0)
        return -1;

    learned = testDescribe(found);
    return virTestCompareToString(data->learned, learned);
}


/* Each cut of all responses: nothing is learned that was not told. */
static int
testInspectCut(const void *opaque G_GNUC_UNUSED)
{
    const char *all = "sha256; 2 of 3, locked; rsa2048 " FINGERPRINT_RSA " +; rsa4096 " FINGERPRINT_RSA4096 " +; "
                      "secp384r1 " FINGERPRINT_EC " +; ";
    g_autofree char *data = testExpand(SUCCESS " " BANKS " " LOCKOUT " " SUCCESS " " SUCCESS
                                       " " SLOT(CERT_RSA2048, RSA2048) " " FAILURE
                                       " " SLOT(CERT_RSA4096, RSA4096) " " SLOT(CERT_EC, EC));
    const testFake fake = { NULL, data, NULL, false };
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    virTPMHelperSwtpmSpec spec;
    g_autofree char *learned = NULL;
    size_t i;

    g_setenv("FAKE_CUT", "1", TRUE);
    spec = testSpec(testFakeSwtpm(&fake));
    swtpm = virTPMHelperSwtpmNew(&spec, NULL);
    g_unsetenv("FAKE_CUT");

    for (i = 0; swtpm && i < 1050; i++) {
        g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
        g_auto(GStrv) parts = NULL;
        char **part;

        if (virTPMHelperInspect(swtpm, found) < 0 || testExpectNoError() < 0)
            return -1;

        g_free(learned);
        learned = testDescribe(found);
        parts = g_strsplit(learned, "; ", 0);

        for (part = parts; *part; part++) {
            if (strstr(all, *part))
                continue;
            VIR_TEST_VERBOSE("cut to %zu bytes: %s", i + 1, *part);
            return -1;
        }
    }

    return virTestCompareToString(all, NULLSTR(learned));
}


static int
testInspectRandom(const void *opaque G_GNUC_UNUSED)
{
    const testFake fake = { NULL, NULL, NULL, false };
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    virTPMHelperSwtpmSpec spec;
    size_t i;

    g_setenv("FAKE_RANDOM", "1", TRUE);
    spec = testSpec(testFakeSwtpm(&fake));
    swtpm = virTPMHelperSwtpmNew(&spec, NULL);
    g_unsetenv("FAKE_RANDOM");

    for (i = 0; swtpm && i < 300; i++) {
        g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

        if (virTPMHelperInspect(swtpm, found) < 0)
            return -1;
    }

    return swtpm ? testExpectNoError() : -1;
}


#define DO_INSPECT_FULL(name, data, learned) \
    do { \
        const testInspectData inspect = { NULL, data, learned }; \
        if (virTestRun("inspect: " name, testInspect, &inspect) < 0) \
            ret = -1; \
    } while (0)

#define DO_INSPECT(name, data, learned) \
    DO_INSPECT_FULL(name, SUCCESS " " data, learned)

/* What swtpm tells of the profile. */
#define DO_PROFILE(name, control, learned) \
    do { \
        const testInspectData inspect = { "18:" control, FAILURE, "; " learned }; \
        if (virTestRun("inspect: " name, testInspect, &inspect) < 0) \
            ret = -1; \
    } while (0)

/* What the first slot says, no more than what is expected of it. */
#define DO_KEY(name, key, learned) \
    DO_INSPECT("key " name, FAILURE " " START " " BARE(key), learned)

#define DO_EC_KEY(name, key, learned) \
    DO_INSPECT("key " name, FAILURE " " START " " TO_EC " " BARE(key), learned)

/* Without a certificate that counts, there is the key. */
#define DO_CERT_NOT(name, cert) \
    DO_INSPECT("certificate " name, FAILURE " " START " " cert " " RSA2048 " " SUCCESS, \
               "; rsa2048 " FINGERPRINT_RSA "; ")

/* With one that is not for the key, it is not known what the EK is. */
#define DO_CERT_OTHER(name, cert) \
    DO_INSPECT("certificate " name, FAILURE " " START " " SLOT(cert, RSA2048), "; ")

static int
testInspectKeys(void)
{
    int ret = 0;

    DO_KEY("RSA", RSA2048, "; rsa2048 " FINGERPRINT_RSA "; ");
    DO_KEY("RSA with an exponent",
           RSA_BEGIN "0010" "0800" "00010001" "0100" "{rsa2048}",
           "; rsa2048 " FINGERPRINT_RSA "; ");
    DO_KEY("RSA without a symmetric algorithm",
           PRIMARY "0000" "0001" "000b" "000300b2" "0000" "0010"
           "0010" "0800" "00000000" "0100" "{rsa2048}",
           "; rsa2048 " FINGERPRINT_RSA "; ");
    DO_KEY("RSA with a scheme",
           RSA_BEGIN "0014" "000b" "0800" "00000000" "0100" "{rsa2048}", "; ");
    DO_KEY("RSA with a scheme that has no parameters",
           RSA_BEGIN "0014" "0800" "00000000" "0100" "{rsa2048}", "; ");
    DO_KEY("RSA that the TPM does not tell",
           FAILURE RSA_PUBLIC "0010" "0800" "00000000" "0100" "{rsa2048}", "; ");
    DO_KEY("RSA, no modulus", RSA_BEGIN "0010" "0800" "00000000" "0000", "; ");
    DO_KEY("RSA, modulus of zeros",
           RSA_BEGIN "0010" "0080" "00000000" "0010" ZEROS, "; ");
    DO_KEY("RSA, modulus cut", RSA_BEGIN "0010" "0800" "00000000" "0101" "{rsa2048}", "; ");
    DO_KEY("RSA, endless modulus", RSA_BEGIN "0010" "0800" "00000000" "ffff" "{rsa2048}", "; ");
    DO_EC_KEY("ECC", EC, "; secp384r1 " FINGERPRINT_EC "; ");
    DO_EC_KEY("ECC with a key derivation",
           EC_BEGIN "0010" "0004" "0020" "000b" "0030" "{x}" "0030" "{y}",
           "; secp384r1 " FINGERPRINT_EC "; ");
    DO_EC_KEY("ECC with a scheme",
           EC_BEGIN "0018" "000b" "0004" "0010" "0030" "{x}" "0030" "{y}", "; ");
    DO_EC_KEY("ECC, other curve", EC_BEGIN "0010" "0020" "0010" "0030" "{x}" "0030" "{y}", "; ");
    DO_EC_KEY("ECC, shorter curve", EC_BEGIN "0010" "0003" "0010" "0030" "{x}" "0030" "{y}", "; ");
    DO_EC_KEY("ECC, no point", EC_BEGIN "0010" "0004" "0010" "0000" "0000", "; ");
    DO_EC_KEY("ECC, y cut", EC_BEGIN "0010" "0004" "0010" "0030" "{x}" "0031" "{y}", "; ");
    DO_EC_KEY("neither", PRIMARY "0000" "0025" "000c" "000300b2" "0000" EC_END, "; ");
    DO_EC_KEY("of an endless policy", PRIMARY "0000" "0023" "000c" "000300b2" "ffff" EC_END, "; ");

    DO_KEY("of another slot", EC, "; ");
    DO_EC_KEY("of another slot", RSA2048, "; ");

    return ret;
}


/* {"ActiveProfile":{"Name":"custom:x","StateFormatLevel":7,"A":"bc"}} */
#define PROFILE "7b2241637469766550726f66696c65223a7b224e616d65223a22637573746f6d3a78222c" \
    "225374617465466f726d61744c6576656c223a372c2241223a226263227d7d00"

static int
testInspectMore(void)
{
    int ret = 0;

    DO_PROFILE("a profile", DONE "00000044" "00000044" PROFILE, "custom:x 7; ");
    DO_PROFILE("no profile", DONE "00000003" "00000003" "7b7d00", "");
    DO_PROFILE("a profile that is no object", DONE "00000013" "00000013"
               "7b22416374697665" "50726f66696c6522" "3a317d", "");
    DO_PROFILE("a profile that is no JSON", DONE "00000004" "00000004" "7b7b7b00", "");
    DO_INSPECT("NV memory", FAILURE " " SUCCESS "00" "00000006" "00000005" "00000202" "00000004"
               "00000208" "00000002" "00000209" "0000003e" "0000020a" "00000001" "0000020b" "00000019",
               "; nv 4 2+62 1+25; ");
    DO_INSPECT("half of NV memory", FAILURE " " SUCCESS "00" "00000006" "00000005"
               "00000202" "00000004" "00000208" "00000002" "00000209" "00", "; ");

    return ret;
}


static int
testInspectCertificates(void)
{
    int ret = 0;

    DO_CERT_NOT("of nothing", NV_PUBLIC("0000"));
    DO_CERT_NOT("of more than 16 KiB", NV_PUBLIC("4001"));
    DO_CERT_NOT("of endless policy", SUCCESS "0000" "01c00002" "000b" "40000000" "ffff" "0010");
    DO_CERT_NOT("of no size", SUCCESS "0000" "01c00002" "000b" "40000000" "0000" "00");
    DO_CERT_NOT("that the owner has put there", NV_PUBLIC_OF("bfffffff", "0319"));
    DO_CERT_NOT("that cannot be read", NV_PUBLIC("0010") " " FAILURE);
    DO_CERT_NOT("that is shorter", NV_PUBLIC("0319") " " NV("0318", "{rsa2048.crt}"));
    DO_CERT_NOT("that is longer", NV_PUBLIC("0318") " " NV("0319", "{rsa2048.crt}"));
    DO_CERT_NOT("without a second part",
                NV_PUBLIC("0519") " " NV("0400", "{rsa4096.crt+}") " " FAILURE);
    DO_CERT_OTHER("that is none", NV_PUBLIC("0010") " " NV("0010", ZEROS));
    DO_CERT_OTHER("that is cut", NV_PUBLIC("031a") " " NV("031a", "{rsa2048.crt}"));
    DO_CERT_OTHER("of another key", CERT_EC);

    DO_INSPECT("a template of its own", FAILURE " " START " " CERT_RSA2048
               " " NV_PUBLIC("0010") " " NV("0010", ZEROS) " " RSA2048 " " SUCCESS,
               "; rsa2048 " FINGERPRINT_RSA " +; ");
    DO_INSPECT("a template of its own, which does not fit", FAILURE " " START " " CERT_RSA2048
               " " NV_PUBLIC("0010") " " NV("0010", ZEROS) " " EC " " SUCCESS " " RSA2048 " " SUCCESS,
               "; rsa2048 " FINGERPRINT_RSA " +; ");
    DO_INSPECT("a template of the owner", FAILURE " " START " " CERT_RSA2048
               " " NV_PUBLIC_OF("00000000", "0010") " " RSA2048 " " SUCCESS,
               "; rsa2048 " FINGERPRINT_RSA " +; ");
    DO_INSPECT_FULL("exits", SUCCESS " " BANKS " !", NULL);

    return ret;
}


static int
testInspectAll(void)
{
    int ret = 0;

    DO_INSPECT("all", BANKS " " LOCKOUT " " SUCCESS " " SUCCESS " " SLOT(CERT_RSA2048, RSA2048)
               " " FAILURE " " SLOT(CERT_RSA4096, RSA4096) " " SLOT(CERT_EC, EC),
               "sha256; 2 of 3, locked; rsa2048 " FINGERPRINT_RSA " +; rsa4096 " FINGERPRINT_RSA4096 " +; "
               "secp384r1 " FINGERPRINT_EC " +; ");
    DO_INSPECT_FULL("nothing", FAILURE, "; ");
    DO_INSPECT_FULL("started up already", FAILURE " " BANKS, "sha256; ");
    DO_INSPECT_FULL("bytes", "80 8001 800100000000 800100000000000000", "; ");

    DO_INSPECT("some banks", SUCCESS "00" "00000005" "00000004" "0012" "03" "ffffff"
               "000c" "00" "000d" "01" "01" "0004" "03" "000001", "sha1,sha512; ");
    DO_INSPECT("fewer banks than said", SUCCESS "00" "00000005" "ffffffff" "000b" "03" "ffffff",
               "sha256; ");
    DO_INSPECT("bank cut", SUCCESS "00" "00000005" "00000001" "000b" "ff" "ffffff", "; ");

    if (virTestRun("inspect: all cut", testInspectCut, NULL) < 0)
        ret = -1;
    if (virTestRun("inspect: random bytes", testInspectRandom, NULL) < 0)
        ret = -1;

    return ret;
}


/* What the real swtpm tells of a TPM that its guest has used. */

#define AUTH "00000009" "40000009" "0000" "00" "0000"
#define COMMAND(size, code) "8002" size code
#define STARTUP "8001" "0000000c" "00000144" "0000"
/* A guest has set passwords for the endorsement and lockout authority. */
#define PASSWORDS STARTUP " " \
    COMMAND("00000020", "00000129") "4000000b" AUTH "0003" "616263" " " \
    COMMAND("00000020", "00000129") "4000000a" AUTH "0003" "616263"
/* It has cleared its TPM, which is not allowed any more. */
#define CLEARED STARTUP " " \
    COMMAND("0000001b", "00000126") "4000000c" AUTH " " \
    COMMAND("0000001c", "00000127") "4000000c" AUTH "01"
/* It has defined an NV index with the password "a", and tried two others. */
#define NV_DEFINE COMMAND("0000002e", "0000012a") "40000001" AUTH "0001" "61" \
    "000e" "01800001" "000b" "00040004" "0000" "0008"
#define NV_GUESS COMMAND("00000024", "0000014e") "01800001" "01800001" \
    "0000000a" "40000009" "0000" "00" "0001" "62" "0001" "0000"
#define GUESSED STARTUP " " NV_DEFINE " " NV_GUESS " " NV_GUESS

typedef struct _testUsedData testUsedData;
struct _testUsedData {
    const char *commands;
    const char *expect;   /* what is told then */
};


/* Returns the state of a TPM behind some commands. */
static virStorageTPMBytes *
testUse(const virStorageTPMBytes *bytes,
        const char *commands)
{
    const virTPMHelperSwtpmSpec spec = testSpec(testRealSwtpm());
    g_autoptr(virTPMHelperSwtpm) swtpm = virTPMHelperSwtpmNew(&spec, bytes);
    g_auto(GStrv) hex = g_strsplit(commands, " ", 0);
    size_t i;

    if (!swtpm || virTPMHelperSwtpmInit(swtpm) < 0)
        return NULL;

    for (i = 0; hex[i]; i++) {
        g_autoptr(virStorageTPMBytes) command = testFromHex(hex[i]);
        uint8_t response[4096];

        /* TPM_RC_RETRY: before the first guess is heard, that it was is written down */
        do {
            if (virTPMHelperSwtpmTransmit(swtpm, command->data, command->len,
                                          response, sizeof(response)) < 10)
                return NULL;
        } while (virReadBufInt32BE(response + 6) == 0x922);

        /* a password that is not right is the only one that may fail */
        if (virReadBufInt32BE(response + 6) != 0 &&
            virReadBufInt32BE(response + 6) != 0x98e) {
            VIR_TEST_VERBOSE("%s: 0x%x", hex[i], virReadBufInt32BE(response + 6));
            return NULL;
        }
    }

    return virTPMHelperSwtpmFinish(swtpm);
}


/* Which profile it is, and for how many more objects there is room, is not the same with
 * every version of swtpm; that it is told is checked. */
static void
testForgetProfile(virStorageVolTPMInspection *inspection)
{
    g_clear_pointer(&inspection->profile, g_free);
    inspection->nv.objectsAvailable = MIN(inspection->nv.objectsAvailable, 50);
    inspection->nv.countersAvailable = MIN(inspection->nv.countersAvailable, 20);
}


static char *
testTold(const virStorageTPMBytes *bytes)
{
    const virTPMHelperSwtpmSpec spec = testSpec(testRealSwtpm());
    g_autoptr(virTPMHelperSwtpm) swtpm = virTPMHelperSwtpmNew(&spec, bytes);
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

    if (!swtpm || virTPMHelperSwtpmInit(swtpm) < 0 || virTPMHelperInspect(swtpm, found) < 0)
        return NULL;

    testForgetProfile(found->inspection);
    return testDescribe(found);
}


static int
testUsed(const void *opaque)
{
    const testUsedData *data = opaque;
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageTPMBytes) used = NULL;
    g_autofree char *told = NULL;

    if (!testRealSwtpm())
        return EXIT_AM_SKIP;

    if (!(used = testUse(bytes, data->commands)) || !(told = testTold(used)))
        return -1;

    return virTestCompareToString(data->expect, told);
}


#define DO_USED(name, commands, expect) \
    do { \
        const testUsedData used_ = { commands, expect }; \
        if (virTestRun("a TPM " name ", by the real swtpm", testUsed, &used_) < 0) \
            ret = -1; \
    } while (0)

#define REAL_KEYS "rsa2048 " FINGERPRINT_TPM2_RSA "; secp384r1 " FINGERPRINT_TPM2_EC "; "

static int
testReal(void)
{
    int ret = 0;

    DO_USED("that was started", STARTUP, "sha256; 0 of 3; nv 0 0+50 0+20; " REAL_KEYS);
    DO_USED("with passwords", PASSWORDS, "sha256; 0 of 3; nv 0 0+50 0+20; " REAL_KEYS);
    DO_USED("that was cleared", CLEARED, "sha256; 0 of 3; nv 0 0+50 0+20; " REAL_KEYS);
    DO_USED("with wrong guesses", GUESSED, "sha256; 3 of 3, locked; nv 1 0+50 0+20; " REAL_KEYS);

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    /* as in the helper */
    signal(SIGPIPE, SIG_IGN);

    if (testInspectKeys() < 0)
        ret = -1;
    if (testInspectMore() < 0)
        ret = -1;
    if (testInspectCertificates() < 0)
        ret = -1;
    if (testInspectAll() < 0)
        ret = -1;
    if (testReal() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
