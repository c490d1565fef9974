/*
 * storagetpmswtpmtest.c: run swtpm on a copy of state: copies, conversions, inspection
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"

#include "datatypes.h"
#include "storage/storage_tpm_copy.h"
#include "storage/storage_tpm_endorsement.h"
#include "storage/storage_tpm_inspect.h"
#include "storage/storage_tpm_scratch.h"
#include "storage/storage_tpm_verify.h"
#include "storage/storage_tpm_bytes.h"
#include "virendian.h"
#include "virstring.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#define LIBVIRT_STORAGE_TPM_SWTPMPRIV_H_ALLOW
#include "storage/storage_tpm_swtpmpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#ifdef F_OFD_SETLK

# define TEST_FIRST "first's passphrase"
# define FAKE_SWTPM abs_srcdir "/storagetpmdata/fakeswtpm.py"


/* What the code under test finds on this host. */

static const char *testSwtpm; /* NULL: none */

char *
virTPMGetSwtpm(void)
{
    if (!testSwtpm)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s", "test has no swtpm");

    return g_strdup(testSwtpm);
}


/* What is erased before it is freed. */
static size_t testErased; /* how often it was the passphrase of the first secret */

/* As the libraries' own, which is this one where the size is checked. */
void __explicit_bzero_chk(void *data, size_t len, size_t room);

void
__explicit_bzero_chk(void *data,
                     size_t len,
                     size_t room G_GNUC_UNUSED)
{
    volatile char *bytes = data;
    const char *first = TEST_FIRST;
    bool same = len == strlen(first);
    size_t i;

    for (i = 0; i < len; i++) {
        same = same && bytes[i] == first[i];
        bytes[i] = 0;
    }

    if (same)
        testErased++;
}


void
explicit_bzero(void *data,
               size_t len)
{
    __explicit_bzero_chk(data, len, len);
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


static size_t testFetched;

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


static char *
testToHex(const uint8_t *data,
          size_t len)
{
    char *hex = g_new0(char, 2 * len + 1);
    size_t i;

    for (i = 0; i < len; i++)
        g_snprintf(hex + 2 * i, 3, "%02x", data[i]);

    return hex;
}


static virStorageTPMBytes *
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


static int
testExpectSameBytes(const virStorageTPMBytes *expect,
                    const virStorageTPMBytes *actual)
{
    return testExpectBytes(actual, expect->data, expect->len);
}


/* The driver's run directory, on a tmpfs. */

static char *testRunDir;

static int
testRunDirCount(void)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    int n = 0;

    if (virDirOpen(&dir, testRunDir) < 0)
        return -1;

    while (virDirRead(dir, &ent, NULL) > 0)
        n++;

    return n;
}


/* From now on swtpm gets its state by a name. Before, it has got a descriptor, as on
 * a host whose run directory is on a disk. Returns whether it will. */
static bool
testUseRunDir(void)
{
    testRunDir = g_strdup("/dev/shm/storagetpmswtpmtest.XXXXXX");

    if (!g_mkdtemp(testRunDir))
        return false;

    virStorageTPMScratchSweep(testRunDir);
    return virStorageTPMScratchRunDir();
}


/* Some tests get a pool. */
typedef struct _testPoolData testPoolData;
struct _testPoolData {
    int (*func)(virStoragePoolDef *pool);
};


static int
testPoolCall(virStoragePoolDef *pool,
             const void *opaque)
{
    const testPoolData *data = opaque;

    return data->func(pool);
}


static int
testPool(const void *opaque)
{
    return testInPool(testPoolCall, opaque);
}


# define DO_POOL(name, func) \
    do { \
        const testPoolData data = { func }; \
        if (virTestRun(name, testPool, &data) < 0) \
            ret = -1; \
    } while (0)


/* Which swtpm is run, and how the fake one behaves: see there. */

typedef struct _testFake testFake;
struct _testFake {
    const char *control;
    const char *data;
    const char *log;
    bool hangs;
};


static void
testSetEnv(const char *name,
           const char *value)
{
    if (value)
        g_setenv(name, value, TRUE);
    else
        g_unsetenv(name);
}


static void
testUseFake(const testFake *fake)
{
    testSwtpm = FAKE_SWTPM;
    /* one that is known to hang is given up early */
    virStorageTPMSwtpmTimeout = fake->hangs ? 2 : 60;
    testSetEnv("FAKE_CONTROL", fake->control);
    testSetEnv("FAKE_DATA", fake->data);
    testSetEnv("FAKE_LOG", fake->log);
}


/* Returns whether there is one. */
static bool
testUseReal(void)
{
    static char *path;

    if (!path && !(path = virFindFileInPath("swtpm")))
        VIR_TEST_VERBOSE("\nskipped: swtpm is not installed");

    testSwtpm = path;
    virStorageTPMSwtpmTimeout = 60;
    return path;
}


static const virStorageTPMSwtpmSpec testSpec = {
    "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_2_0, NULL
};

static const virSecretLookupTypeDef testSecretFirst = {
    VIR_SECRET_LOOKUP_TYPE_USAGE, { .usage = (char *)"first" }
};

static const virSecretLookupTypeDef testSecretMissing = {
    VIR_SECRET_LOOKUP_TYPE_USAGE, { .usage = (char *)"missing" }
};


/* Command lines of swtpm. */

typedef struct _testArgsData testArgsData;
struct _testArgsData {
    const char *args;
    virDomainTPMVersion version;
    const virSecretLookupTypeDef *secret;
};


static int
testArgs(const void *opaque)
{
    const testArgsData *data = opaque;
    const virStorageTPMSwtpmSpec spec = {
        "tpmpool", "guest1", data->version, data->secret
    };
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/swtpm-%s.args",
                                              abs_srcdir, data->args);
    g_autoptr(GRegex) regex = g_regex_new("(pwdfd=)[0-9]+", 0, 0, NULL);
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *args = NULL;
    g_autofree char *hidden = NULL;

    cmd = virStorageTPMSwtpmBuildCommand(&spec, "/usr/bin/swtpm", 5, 6, "/run/dir/state");

    if (!cmd || !(args = virCommandToString(cmd, true)) ||
        testExpectPassphrase(cmd, args, data->secret ? TEST_FIRST : NULL) < 0)
        return -1;

    hidden = g_regex_replace(regex, args, -1, 0, "\\1FD", 0, NULL);
    return virTestCompareToFileFull(hidden, expect, false);
}


static int
testArgsNot(const void *opaque G_GNUC_UNUSED)
{
    const virStorageTPMSwtpmSpec spec = {
        "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_2_0, &testSecretMissing
    };
    g_autoptr(virCommand) cmd = virStorageTPMSwtpmBuildCommand(&spec, "/usr/bin/swtpm",
                                                               5, 6, "/run/dir/state");

    return cmd ? -1 : testExpectError(VIR_ERR_NO_SECRET, "secret usage='missing'");
}


/* A passphrase is read once, and erased wherever it was: also if it is not passed. */
static int
testPassphrase(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virCommand) cmd = virCommandNew("/usr/bin/swtpm");
    g_autoptr(virCommand) bad = virCommandNew("/usr/bin/swtpm");
    size_t fetched = testFetched;
    int second;
    int fd;

    testErased = 0;
    if ((fd = virTPMSecretAddFD(cmd, &testSecretFirst, "tpmpool", "guest1", &second)) < 0 ||
        fd == second || testFetched != fetched + 1)
        return -1;
    g_clear_pointer(&cmd, virCommandFree);
    if (testErased != 2)
        return -1;

    virCommandAddArg(bad, NULL); /* it has an error */
    testErased = 0;
    if (virTPMSecretAddFD(bad, &testSecretFirst, "tpmpool", "guest1", NULL) >= 0 ||
        testExpectError(VIR_ERR_OPERATION_FAILED, "cannot pass the passphrase") < 0 ||
        testErased != 1)
        return -1;

    testErased = 0;
    if (virTPMSecretAddFD(bad, &testSecretFirst, "tpmpool", "guest1", &second) >= 0 ||
        testExpectError(VIR_ERR_OPERATION_FAILED, "cannot pass the passphrase") < 0)
        return -1;

    return testErased == 2 ? 0 : -1;
}


# define DO_ARGS(args, version, secret) \
    do { \
        const testArgsData data = { args, VIR_DOMAIN_TPM_VERSION_ ## version, secret }; \
        if (virTestRun("swtpm for " args, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testCommands(void)
{
    int ret = 0;

    DO_ARGS("2.0", 2_0, NULL);
    DO_ARGS("1.2", 1_2, NULL);
    DO_ARGS("encrypted", 2_0, &testSecretFirst);
    if (virTestRun("no swtpm, secret missing", testArgsNot, NULL) < 0)
        ret = -1;
    if (virTestRun("passphrase erased", testPassphrase, NULL) < 0)
        ret = -1;

    return ret;
}


/* The control channel. */

typedef enum {
    TEST_STEP_INIT,
    TEST_STEP_GET,
    TEST_STEP_SET,
    TEST_STEP_TRANSMIT,
    TEST_STEP_FINISH,
} testStep;

typedef struct _testControlData testControlData;
struct _testControlData {
    testFake fake;
    testStep step;
    const char *result;   /* bytes that are returned, in hex; NULL: fails */
    int code;
    const char *error;
};


static virStorageTPMBytes *
testTransmit(virStorageTPMSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) response = g_new0(virStorageTPMBytes, 1);
    const uint8_t command[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 0, 1 };
    ssize_t got;

    response->data = g_new0(uint8_t, 16);
    if ((got = virStorageTPMSwtpmTransmit(swtpm, command, sizeof(command),
                                          response->data, 16)) < 0)
        return NULL;

    response->len = got;
    return g_steal_pointer(&response);
}


/* Returns what the step returns; nothing for one that only succeeds. */
static virStorageTPMBytes *
testRunStep(virStorageTPMSwtpm *swtpm,
            testStep step)
{
    g_autoptr(virStorageTPMBytes) blob = NULL;
    int rc = -1;

    switch (step) {
    case TEST_STEP_INIT:
        rc = virStorageTPMSwtpmInit(swtpm);
        break;
    case TEST_STEP_GET:
        return virStorageTPMSwtpmGetPermanent(swtpm);
    case TEST_STEP_SET:
        blob = testState("tpm2");
        rc = virStorageTPMSwtpmSetPermanent(swtpm, blob);
        break;
    case TEST_STEP_TRANSMIT:
        return testTransmit(swtpm);
    case TEST_STEP_FINISH:
        return virStorageTPMSwtpmFinish(swtpm);
    }

    return rc < 0 ? NULL : g_new0(virStorageTPMBytes, 1);
}


static int
testControl(const void *opaque)
{
    const testControlData *data = opaque;
    virStorageTPMBytes state = { (uint8_t *)"state", 5 };
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    g_autoptr(virStorageTPMBytes) result = NULL;
    g_autofree char *hex = NULL;

    testUseFake(&data->fake);

    if (!(swtpm = virStorageTPMSwtpmNew(&testSpec, &state)))
        return -1;

    result = testRunStep(swtpm, data->step);

    if (!data->result)
        return result ? -1 : testExpectError(data->code, data->error);

    if (!result || testExpectNoError() < 0)
        return -1;

    hex = testToHex(result->data, result->len);
    return virTestCompareToString(data->result, hex);
}


/* What goes over the channel, byte for byte. */
static int
testControlSent(virStoragePoolDef *pool)
{
    const testFake fake = {
        "00000000 00000000 000000000000000000000003000000026162"
        " 0000000000000000000000030000000163 00000000", NULL, NULL, false
    };
    g_autofree char *record = testPath(pool, "record");
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    virStorageTPMBytes blob = { (uint8_t *)"xyz", 3 };
    g_autoptr(virStorageTPMBytes) back = NULL;
    g_autoptr(virStorageTPMBytes) state = NULL;
    g_autofree char *sent = NULL;

    g_setenv("FAKE_RECORD", record, TRUE);
    testUseFake(&fake);
    swtpm = virStorageTPMSwtpmNew(&testSpec, NULL);
    g_unsetenv("FAKE_RECORD");

    if (!swtpm ||
        virStorageTPMSwtpmSetPermanent(swtpm, &blob) < 0 ||
        virStorageTPMSwtpmInit(swtpm) < 0 ||
        !(back = virStorageTPMSwtpmGetPermanent(swtpm)) ||
        !(state = virStorageTPMSwtpmFinish(swtpm)) || state->len != 0 ||
        virFileReadAll(record, TEST_FILE_MAX, &sent) < 0)
        return -1;

    return virTestCompareToString("0000000d" "00000000" "00000001" "00000003" "78797a\n"
                                  "00000002" "00000000\n"
                                  "0000000c" "00000001" "00000001" "00000000\n"
                                  "0000000c" "00000001" "00000001" "00000002\n"
                                  "00000003\n", sent);
}


/* swtpm finds its state under a name that is no link, and only as long as it needs
 * one: neither a name nor anything else is left. */
static int
testRealName(const void *opaque G_GNUC_UNUSED)
{
    const testFake fake = { NULL, NULL, NULL, false };
    virStorageTPMBytes bytes = { (uint8_t *)"state", 5 };
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    g_autoptr(virStorageTPMBytes) state = NULL;

    g_setenv("FAKE_OPENS", "1", TRUE);
    testUseFake(&fake);
    swtpm = virStorageTPMSwtpmNew(&testSpec, &bytes);
    g_unsetenv("FAKE_OPENS");

    if (!swtpm || testRunDirCount() != 1 ||
        virStorageTPMSwtpmInit(swtpm) < 0 || testRunDirCount() != 0 ||
        !(state = virStorageTPMSwtpmFinish(swtpm)) ||
        testExpectBytes(state, (const uint8_t *)"State", 5) < 0)
        return -1;

    g_clear_pointer(&swtpm, virStorageTPMSwtpmFree);

    /* one that is not used, and one whose process is gone */
    if (!(swtpm = virStorageTPMSwtpmNew(&testSpec, &bytes)) || testRunDirCount() != 1)
        return -1;
    g_clear_pointer(&swtpm, virStorageTPMSwtpmFree);
    if (testRunDirCount() != 0)
        return -1;

    if (!(swtpm = virStorageTPMSwtpmNew(&testSpec, &bytes)))
        return -1;
    virStorageTPMScratchSweep(testRunDir);
    return testRunDirCount() == 0 ? 0 : -1;
}


static int
testControlNone(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;

    testSwtpm = NULL;
    if ((swtpm = virStorageTPMSwtpmNew(&testSpec, NULL)) ||
        testExpectError(VIR_ERR_OPERATION_UNSUPPORTED, "test has no swtpm") < 0)
        return -1;

    /* that is noticed only when it does not answer */
    testSwtpm = abs_srcdir "/storagetpmdata/setup-2.0.args";
    if (!(swtpm = virStorageTPMSwtpmNew(&testSpec, NULL)) ||
        virStorageTPMSwtpmInit(swtpm) == 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_FAILED, "cannot execute binary");
}


# define DONE "00000000"
# define FLAGS "00000000"
# define FAILED "00000101"

# define DO_STEP(name, step, control, data, log, result, code, error) \
    do { \
        const testControlData control_ = { \
            { control, data, log, code == VIR_ERR_OPERATION_TIMEOUT }, \
            TEST_STEP_ ## step, result, code, error \
        }; \
        if (virTestRun("swtpm " #step ", " name, testControl, &control_) < 0) \
            ret = -1; \
    } while (0)

/* Nothing to tell but that it has failed. */
# define DO_STEP_FAILS(name, step, control) \
    DO_STEP(name, step, control, NULL, NULL, NULL, VIR_ERR_OPERATION_FAILED, \
            "cannot start the TPM on volume 'guest1' of pool 'tpmpool': operation failed: swtpm did not execute CMD_")

static int
testControls(void)
{
    int ret = 0;

    DO_STEP("done", INIT, DONE, NULL, NULL, "", 0, NULL);
    DO_STEP_FAILS("not done", INIT, FAILED);
    DO_STEP_FAILS("half an answer", INIT, "0000!");
    DO_STEP_FAILS("no answer", INIT, "!");
    DO_STEP("half an answer, hangs", INIT, "0000", NULL, NULL, NULL,
            VIR_ERR_OPERATION_TIMEOUT, "did not answer CMD_INIT within");
    DO_STEP("wrong passphrase", INIT, FAILED, NULL,
            "swtpm: Verification of HMAC failed. Data integrity is compromised\n",
            NULL, VIR_ERR_AUTH_FAILED, "wrong passphrase for TPM volume 'guest1' of pool 'tpmpool'");
    DO_STEP("says why", INIT, FAILED, NULL, "first\nsecond\nData client disconnected\n",
            NULL, VIR_ERR_OPERATION_FAILED, "'tpmpool': first; second");
    DO_STEP("says why and exits", INIT, "!", NULL, "first\nsecond\n",
            NULL, VIR_ERR_OPERATION_FAILED, "'tpmpool': first; second");

    DO_STEP("done", SET, DONE, NULL, NULL, "", 0, NULL);
    DO_STEP_FAILS("not done", SET, FAILED);
    DO_STEP_FAILS("no answer", SET, "!");

    DO_STEP("state", FINISH, DONE, NULL, NULL, "7374617465", 0, NULL);
    DO_STEP_FAILS("not done", FINISH, FAILED);
    DO_STEP("not done, stays", FINISH, FAILED "~", NULL, NULL, NULL,
            VIR_ERR_OPERATION_TIMEOUT, "did not answer CMD_SHUTDOWN within");
    DO_STEP("done, stays", FINISH, DONE "~", NULL, NULL, NULL,
            VIR_ERR_OPERATION_TIMEOUT, "did not answer CMD_SHUTDOWN within");
    DO_STEP("done, closes, stays", FINISH, DONE "-", NULL, NULL, NULL,
            VIR_ERR_OPERATION_TIMEOUT, "did not answer CMD_SHUTDOWN within");
    DO_STEP("not done, closes, stays", FINISH, FAILED "-", NULL, NULL, NULL,
            VIR_ERR_OPERATION_TIMEOUT, "did not answer CMD_SHUTDOWN within");
    DO_STEP_FAILS("no answer", FINISH, "!");

    DO_STEP("response", TRANSMIT, NULL, "0102030405", NULL, "0102030405", 0, NULL);
    DO_STEP("longer response", TRANSMIT, NULL, "000102030405060708090a0b0c0d0e0f10", NULL,
            "000102030405060708090a0b0c0d0e0f", 0, NULL);
    DO_STEP("no answer", TRANSMIT, NULL, "!", NULL, NULL, VIR_ERR_OPERATION_FAILED,
            "swtpm did not execute a TPM command");
    DO_STEP("hangs", TRANSMIT, NULL, "hang", NULL, NULL, VIR_ERR_OPERATION_TIMEOUT,
            "did not answer a TPM command within");

    DO_POOL("swtpm is told", testControlSent);
    if (testRunDir && virTestRun("swtpm finds a real name", testRealName, NULL) < 0)
        ret = -1;
    if (virTestRun("swtpm missing", testControlNone, NULL) < 0)
        ret = -1;

    return ret;
}


static int
testParts(void)
{
    int ret = 0;

    DO_STEP("one part", GET, DONE FLAGS "00000003" "00000003" "616263", NULL, NULL,
            "616263", 0, NULL);
    DO_STEP("two parts", GET, DONE FLAGS "00000003" "00000002" "6162"
            " " DONE FLAGS "00000003" "00000001" "63", NULL, NULL, "616263", 0, NULL);
    DO_STEP_FAILS("not done", GET, FAILED FLAGS "00000003" "00000003" "616263");
    DO_STEP_FAILS("not done, no numbers", GET, FAILED);
    DO_STEP_FAILS("no answer", GET, "!");
    DO_STEP_FAILS("part of the numbers", GET, DONE FLAGS "00000003" "0000!");
    DO_STEP_FAILS("part of the bytes", GET, DONE FLAGS "00000003" "00000003" "6162!");
    DO_STEP_FAILS("no second part", GET, DONE FLAGS "00000003" "00000002" "6162"
                  " " DONE FLAGS "00000003" "00000001!");
    DO_STEP_FAILS("nothing", GET, DONE FLAGS "00000000" "00000000");
    DO_STEP_FAILS("empty part", GET, DONE FLAGS "00000003" "00000000");
    DO_STEP_FAILS("empty second part", GET, DONE FLAGS "00000003" "00000002" "6162"
                  " " DONE FLAGS "00000003" "00000000");
    DO_STEP_FAILS("part longer than all", GET, DONE FLAGS "00000002" "00000003" "616263");
    DO_STEP_FAILS("second part longer than the rest", GET,
                  DONE FLAGS "00000003" "00000002" "6162"
                  " " DONE FLAGS "00000003" "00000002" "6364");
    DO_STEP_FAILS("endless part", GET, DONE FLAGS "00000003" "ffffffff" "616263");
    DO_STEP_FAILS("grows", GET, DONE FLAGS "00000003" "00000002" "6162"
                  " " DONE FLAGS "00000004" "00000002" "6364");
    DO_STEP_FAILS("shrinks", GET, DONE FLAGS "00000004" "00000002" "6162"
                  " " DONE FLAGS "00000003" "00000001" "63");
    DO_STEP_FAILS("shrinks below what there is", GET, DONE FLAGS "00000004" "00000002" "6162"
                  " " DONE FLAGS "00000001" "00000001" "63");
    DO_STEP_FAILS("more than 16 MiB", GET, DONE FLAGS "01000001" "00000001" "61");
    DO_STEP_FAILS("endless", GET, DONE FLAGS "ffffffff" "00000001" "61");

    return ret;
}


/* What a TPM tells of itself. */

# define SUCCESS "80010000000000000000"
# define FAILURE "8001000000000000018b"
# define ZEROS "00000000000000000000000000000000"

/* PCR banks: SHA-1 is there but not active, SHA-256 is. */
# define BANKS SUCCESS "00" "00000005" "00000002" "0004" "03" "000000" "000b" "03" "ffffff"

# define RSA_PUBLIC "0000" "0001" "000b" "000300b2" "0020" ZEROS ZEROS "0006" "0080" "0043"
# define PRIMARY SUCCESS "80000000" "00000000"
# define RSA_BEGIN PRIMARY RSA_PUBLIC
# define RSA2048 RSA_BEGIN "0010" "0800" "00000000" "0100" "{rsa2048}"
# define RSA4096 RSA_BEGIN "0010" "1000" "00000000" "0200" "{rsa4096}"
# define EC_END "0006" "0100" "0043" "0010" "0004" "0010" "0030" "{x}" "0030" "{y}"
# define EC_BEGIN PRIMARY "0000" "0023" "000c" "000300b2" "0000" "0006" "0100" "0043"
# define EC PRIMARY "0000" "0023" "000c" "000300b2" "0000" EC_END

# define LOCKOUT SUCCESS "00" "00000006" "00000003" "00000200" "00000200" \
    "0000020e" "00000002" "0000020f" "00000003"

# define NV_PUBLIC_OF(attributes, len) SUCCESS "0000" "01c00002" "000b" attributes "0000" len
# define NV_PUBLIC(len) NV_PUBLIC_OF("40000000", len)
# define NV(len, part) "80020000000000000000" "00000000" len part
# define CERT_RSA2048 NV_PUBLIC("0319") " " NV("0319", "{rsa2048.crt}")
# define CERT_EC NV_PUBLIC("01cb") " " NV("01cb", "{secp384r1.crt}")
# define CERT_RSA4096 NV_PUBLIC("0519") " " NV("0400", "{rsa4096.crt+}") " " NV("0119", "{+rsa4096.crt}")

/* What comes between the PCR banks and the first slot: lockout, and the TPM is cleared. */
# define START FAILURE " " FAILURE " " FAILURE
/* A slot with its certificate and the default template, and one that has only a key. */
# define SLOT(cert, key) cert " " FAILURE " " key " " SUCCESS
# define BARE(key) FAILURE " " key " " SUCCESS
/* No certificates for RSA 3072 and RSA 4096. */
# define NO_LARGE FAILURE " " FAILURE
/* The first slot is of no use, and the next two are not there. */
# define TO_EC FAILURE " " FAILURE " " NO_LARGE

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


/* Fills in keys and certificates. */
static char *
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


/* "BANKS; TRIES of LIMIT; KEY FINGERPRINT, with a + if there is a certificate; ..." */
static char *
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

    for (i = 0; i < tpm->nendorsements; i++)
        virBufferAsprintf(&text, "%s %s%s; ", tpm->endorsements[i].key,
                          tpm->endorsements[i].fingerprint,
                          tpm->endorsements[i].certificate ? " +" : "");

    return virBufferContentAndReset(&text);
}


typedef struct _testInspectData testInspectData;
struct _testInspectData {
    const char *data;
    const char *learned; /* NULL: fails */
    int code;
    const char *error;
};


static int
testInspect(const void *opaque)
{
    const testInspectData *data = opaque;
    g_autofree char *expanded = testExpand(data->data);
    const testFake fake = { NULL, expanded, NULL, false };
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
    g_autofree char *learned = NULL;
    int rc;

    testUseFake(&fake);

    if (!(swtpm = virStorageTPMSwtpmNew(&testSpec, NULL)))
        return -1;

    rc = virStorageTPMInspect(swtpm, found);

    if (!data->learned)
        return rc == 0 ? -1 : testExpectError(data->code, data->error);

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
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    g_autofree char *learned = NULL;
    size_t i;

    g_setenv("FAKE_CUT", "1", TRUE);
    testUseFake(&fake);
    swtpm = virStorageTPMSwtpmNew(&testSpec, NULL);
    g_unsetenv("FAKE_CUT");

    for (i = 0; swtpm && i < 1050; i++) {
        g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
        g_auto(GStrv) parts = NULL;
        char **part;

        if (virStorageTPMInspect(swtpm, found) < 0 || testExpectNoError() < 0)
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
    g_autoptr(virStorageTPMSwtpm) swtpm = NULL;
    size_t i;

    g_setenv("FAKE_RANDOM", "1", TRUE);
    testUseFake(&fake);
    swtpm = virStorageTPMSwtpmNew(&testSpec, NULL);
    g_unsetenv("FAKE_RANDOM");

    for (i = 0; swtpm && i < 300; i++) {
        g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

        if (virStorageTPMInspect(swtpm, found) < 0)
            return -1;
    }

    return swtpm ? testExpectNoError() : -1;
}


# define DO_INSPECT_FULL(name, data, ...) \
    do { \
        const testInspectData inspect = { data, __VA_ARGS__ }; \
        if (virTestRun("inspect: " name, testInspect, &inspect) < 0) \
            ret = -1; \
    } while (0)

# define DO_INSPECT(name, data, learned) \
    DO_INSPECT_FULL(name, SUCCESS " " data, learned, 0, NULL)

/* What the first slot says, no more than what is expected of it. */
# define DO_KEY(name, key, learned) \
    DO_INSPECT("key " name, FAILURE " " START " " BARE(key), learned)

# define DO_EC_KEY(name, key, learned) \
    DO_INSPECT("key " name, FAILURE " " START " " TO_EC " " BARE(key), learned)

/* Without a certificate that counts, there is the key. */
# define DO_CERT_NOT(name, cert) \
    DO_INSPECT("certificate " name, FAILURE " " START " " cert " " RSA2048 " " SUCCESS, \
               "; rsa2048 " FINGERPRINT_RSA "; ")

/* With one that is not for the key, it is not known what the EK is. */
# define DO_CERT_OTHER(name, cert) \
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


static int
testInspectAll(void)
{
    int ret = 0;

    DO_INSPECT("all", BANKS " " LOCKOUT " " SUCCESS " " SUCCESS " " SLOT(CERT_RSA2048, RSA2048)
               " " FAILURE " " SLOT(CERT_RSA4096, RSA4096) " " SLOT(CERT_EC, EC),
               "sha256; 2 of 3, locked; rsa2048 " FINGERPRINT_RSA " +; rsa4096 " FINGERPRINT_RSA4096 " +; "
               "secp384r1 " FINGERPRINT_EC " +; ");
    DO_INSPECT_FULL("nothing", FAILURE, "; ", 0, NULL);
    DO_INSPECT_FULL("started up already", FAILURE " " BANKS, "sha256; ", 0, NULL);
    DO_INSPECT_FULL("bytes", "80 8001 800100000000 800100000000000000", "; ", 0, NULL);

    DO_INSPECT("some banks", SUCCESS "00" "00000005" "00000004" "0012" "03" "ffffff"
               "000c" "00" "000d" "01" "01" "0004" "03" "000001", "sha1,sha512; ");
    DO_INSPECT("fewer banks than said", SUCCESS "00" "00000005" "ffffffff" "000b" "03" "ffffff",
               "sha256; ");
    DO_INSPECT("bank cut", SUCCESS "00" "00000005" "00000001" "000b" "ff" "ffffff", "; ");

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
    DO_INSPECT_FULL("exits", SUCCESS " " BANKS " !", NULL, VIR_ERR_OPERATION_FAILED,
                    "swtpm did not execute a TPM command");

    if (virTestRun("inspect: all cut", testInspectCut, NULL) < 0)
        ret = -1;
    if (virTestRun("inspect: random bytes", testInspectRandom, NULL) < 0)
        ret = -1;

    return ret;
}


/* Copies. */

/* A volume of @pool; @secret is the usage of its secret, or NULL. */
static virStorageVolDef *
testVol(virStoragePoolDef *pool,
        const char *name,
        const char *secret,
        const char *tpm)
{
    g_autofree char *encryption = NULL;
    g_autofree char *xml = NULL;
    virStorageVolDef *vol;

    if (secret)
        encryption = g_strdup_printf("<encryption format='vtpm'>"
                                     "<secret type='passphrase' usage='%s'/>"
                                     "</encryption>", secret);

    xml = g_strdup_printf("<volume><name>%s</name><target>%s</target>%s</volume>",
                          name, NULLSTR_EMPTY(encryption), tpm ? tpm : "<tpm/>");

    if (!(vol = virStorageVolDefParse(pool, xml, NULL, 0)))
        abort();

    g_free(vol->target.path);
    vol->target.path = testPath(pool, name);
    return vol;
}


/* How the state of a fixture is put into the volume that is copied. */
typedef enum {
    TEST_SOURCE_LINEAR,
    TEST_SOURCE_PADDED,
    TEST_SOURCE_BLOB,
} testSource;


static virStorageTPMBytes *
testSourceBytes(const char *fixture,
                testSource how)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    size_t len;

    if (*fixture == '\0')
        return g_new0(virStorageTPMBytes, 1);

    bytes = testState(fixture);

    switch (how) {
    case TEST_SOURCE_LINEAR:
        break;
    case TEST_SOURCE_PADDED:
        bytes->data = g_realloc(bytes->data, 8192);
        memset(bytes->data + bytes->len, 0, 8192 - bytes->len);
        bytes->len = 8192;
        break;
    case TEST_SOURCE_BLOB:
        len = virReadBufInt32LE(bytes->data + 16);
        memmove(bytes->data, bytes->data + 192, len);
        bytes->len = len;
        break;
    }

    return g_steal_pointer(&bytes);
}


# define CLEAR NULL
# define FOREIGN "foreign"

typedef struct _testCopyData testCopyData;
struct _testCopyData {
    const char *fixture;
    testSource how;
    const char *from;   /* the source's secret; FOREIGN: it is no TPM volume */
    const char *source; /* what the source says of its TPM, NULL for nothing */
    const char *to;
    const char *asked;  /* what is asked for the TPM, NULL for nothing */

    const char *learned; /* NULL: no copy is made */
    int code;
    const char *error;

    testFake fake;      /* the swtpm, unless it is the real one */
};


/* Neither the source nor anything beside it changes. */
static int
testExpectSource(const virStoragePoolDef *pool,
                 const char *path,
                 const virStorageTPMBytes *before)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(virStorageTPMBytes) after = NULL;
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    size_t n = 0;

    if (fd < 0 || !(after = virStorageTPMBytesRead(fd, path)) ||
        testExpectSameBytes(before, after) < 0 ||
        virDirOpen(&dir, pool->target.path) < 0)
        return -1;

    while (virDirRead(dir, &ent, NULL) > 0)
        n++;

    return n == 1 ? 0 : -1;
}


/* The state with its room, as it is written. */
static virStorageTPMBytes *
testLaidOut(const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len)))
        return NULL;

    return g_steal_pointer(&linear);
}


static int
testExpectCopy(const testCopyData *data,
               const virStorageVolDef *vol,
               const virStorageTPMBytes *copy)
{
    g_autoptr(virStorageTPMBytes) expect = testState(data->fixture);
    g_autofree char *learned = testDescribe(vol->tpm);
    virTPMState state;

    virTPMStateProbeBytes(copy->data, copy->len, &state);

    if (state.kind != VIR_TPM_STATE_LINEAR ||
        state.encrypted != !!data->to ||
        vol->tpm->version == VIR_DOMAIN_TPM_VERSION_DEFAULT ||
        virTestCompareToString(data->learned, learned) < 0)
        return -1;

    /* what need not be converted is not */
    if (STREQ_NULLABLE(data->from, data->to) ||
        (STREQ_NULLABLE(data->from, FOREIGN) && !data->to)) {
        g_autoptr(virStorageTPMBytes) room = testLaidOut(expect);
        g_autoptr(virStorageTPMBytes) made = testLaidOut(copy);

        return room && made ? testExpectSameBytes(room, made) : -1;
    }

    return testExpectNoError();
}


static int
testCopyIn(virStoragePoolDef *pool,
           const void *opaque)
{
    const testCopyData *data = opaque;
    bool foreign = STREQ_NULLABLE(data->from, FOREIGN);
    g_autoptr(virStorageTPMBytes) before = testSourceBytes(data->fixture, data->how);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    g_autoptr(virStorageVolDef) orig = testVol(pool, "one", foreign ? NULL : data->from,
                                               data->source);
    g_autoptr(virStorageVolDef) vol = testVol(pool, "two", data->to, data->asked);

    testWrite(orig->target.path, before);
    if (!foreign)
        virStorageVolTPMDefSetSource(vol->tpm, "tpmpool", orig);

    copy = virStorageTPMCopy(pool, vol, orig);

    if (data->error) {
        if (copy || testExpectError(data->code, data->error) < 0)
            return -1;
    } else if (!copy) {
        testExpectNoError();
        return -1;
    } else if (testExpectCopy(data, vol, copy) < 0) {
        return -1;
    }

    return testExpectSource(pool, orig->target.path, before);
}


static int
testCopyReal(const void *opaque)
{
    return testUseReal() ? testInPool(testCopyIn, opaque) : EXIT_AM_SKIP;
}


static int
testCopyFake(const void *opaque)
{
    const testCopyData *data = opaque;
    g_autofree char *expanded = testExpand(NULLSTR_EMPTY(data->fake.data));
    const testFake fake = {
        data->fake.control, expanded, data->fake.log, data->fake.hangs
    };

    testUseFake(&fake);
    return testInPool(testCopyIn, data);
}


/* What is no TPM volume is looked at before it is opened for good. */
static int
testCopyForeignNot(virStoragePoolDef *pool)
{
    g_autoptr(virStorageVolDef) orig = testVol(pool, "one", NULL, NULL);
    g_autoptr(virStorageVolDef) vol = testVol(pool, "two", NULL, NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    VIR_AUTOCLOSE fd = -1;

    if ((copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot open '") < 0)
        return -1;

    if (mkfifo(orig->target.path, 0600) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "neither a regular file nor a block device") < 0)
        return -1;

    if (unlink(orig->target.path) < 0 || mkdir(orig->target.path, 0700) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "neither a regular file nor a block device") < 0)
        return -1;

    if (rmdir(orig->target.path) < 0 ||
        (fd = open(orig->target.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0 ||
        ftruncate(fd, VIR_TPM_STATE_MAX_SIZE + 1) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "has 16777217 bytes") < 0)
        return -1;

    /* a file of that name is not the volume of an rbd or gluster pool */
    orig->type = VIR_STORAGE_VOL_NETWORK;
    if ((copy = virStorageTPMCopy(pool, vol, orig)))
        return -1;

    return testExpectError(VIR_ERR_OPERATION_UNSUPPORTED,
                           "it is of type 'network' and not a file or block device of this host");
}


# define DO_COPY_FULL(name, func, ...) \
    do { \
        const testCopyData copy_ = { __VA_ARGS__ }; \
        if (virTestRun("copy: " name, func, &copy_) < 0) \
            ret = -1; \
    } while (0)

# define DO_COPY(name, fixture, how, from, source, to, asked, learned, data) \
    DO_COPY_FULL(name, testCopyFake, fixture, TEST_SOURCE_ ## how, from, source, to, asked, \
                 learned, 0, NULL, { NULL, data, NULL, false })

# define DO_COPY_NOT(name, fixture, from, source, to, asked, data, code, error) \
    DO_COPY_FULL(name, testCopyFake, fixture, TEST_SOURCE_LINEAR, from, source, to, asked, \
                 NULL, VIR_ERR_ ## code, error, { NULL, data, NULL, false })

# define UUID "<uuid>0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f</uuid>"
# define TPM(inner) "<tpm>" inner "</tpm>"
# define BANK(name) "<active_pcr_banks><" name "/></active_pcr_banks>"
# define EK(fingerprint) "<endorsement key='rsa2048' fingerprint='" fingerprint "'/>"

static int
testCopies(void)
{
    int ret = 0;

    DO_COPY("as it is", "tpm2", LINEAR, CLEAR, TPM(UUID), CLEAR, NULL, "sha256; ",
            SUCCESS " " BANKS);
    DO_COPY("keys are learned", "tpm2", LINEAR, CLEAR, TPM(UUID), CLEAR, NULL,
            "sha256; rsa2048 " FINGERPRINT_RSA " +; ",
            SUCCESS " " BANKS " " START " " SLOT(CERT_RSA2048, RSA2048));
    DO_COPY("the key that is described", "tpm2", LINEAR, CLEAR, TPM(BANK("sha1") EK(FINGERPRINT_RSA)),
            CLEAR, NULL, "sha1; rsa2048 " FINGERPRINT_RSA " +; ",
            SUCCESS " " BANKS " " START " " SLOT(CERT_RSA2048, RSA2048));
    DO_COPY("a key that is not known", "tpm2", LINEAR, CLEAR, TPM(EK(FINGERPRINT_RSA)),
            CLEAR, NULL, "sha256; rsa2048 " FINGERPRINT_RSA " +; ", SUCCESS " " BANKS);
    DO_COPY("the banks that are asked for", "tpm2", LINEAR, CLEAR, TPM(BANK("sha256")),
            CLEAR, TPM(BANK("sha256")), "sha256; ", NULL);
    DO_COPY("encrypted", "tpm2-encrypted", LINEAR, "first", "<tpm version='2.0'/>", "first", NULL,
            "sha256; ", SUCCESS " " BANKS);
    DO_COPY("TPM 1.2 is not asked", "tpm12", LINEAR, CLEAR, NULL, CLEAR, NULL, "; ",
            SUCCESS " " BANKS);

    DO_COPY("import", "tpm2", LINEAR, FOREIGN, NULL, CLEAR, NULL,
            "sha256; rsa2048 " FINGERPRINT_RSA "; ", SUCCESS " " BANKS " " START " " BARE(RSA2048));
    DO_COPY("import with the banks that it has", "tpm2", LINEAR, FOREIGN, NULL, CLEAR,
            TPM(BANK("sha256")), "sha256; ", SUCCESS " " BANKS);
    DO_COPY("import of a padded file", "tpm2", PADDED, FOREIGN, NULL, CLEAR, NULL, "; ", NULL);
    DO_COPY("import of a blob", "tpm2", BLOB, FOREIGN, NULL, CLEAR, NULL, "; ", NULL);
    DO_COPY("import of an encrypted file", "tpm2-encrypted", LINEAR, FOREIGN, NULL, "first", NULL,
            "; ", NULL);

    return ret;
}


static int
testCopiesRefused(void)
{
    int ret = 0;

    DO_COPY_NOT("of nothing", "", CLEAR, NULL, CLEAR, NULL, NULL, OPERATION_INVALID,
                "TPM volume 'one' of pool 'tpmpool' is blank");
    DO_COPY_NOT("of a clear volume with a secret", "tpm2", "first", NULL, CLEAR, NULL, NULL,
                CONFIG_UNSUPPORTED, "TPM volume 'one' of pool 'tpmpool' has a secret, but");
    DO_COPY_NOT("of an encrypted volume without a secret", "tpm2-encrypted", CLEAR, NULL, CLEAR, NULL,
                NULL, CONFIG_UNSUPPORTED, "TPM volume 'one' of pool 'tpmpool' is encrypted, but");
    DO_COPY_NOT("of another version", "tpm2", CLEAR, NULL, CLEAR, "<tpm version='1.2'/>", NULL,
                CONFIG_UNSUPPORTED, "TPM volume 'two' cannot have version 1.2, as 'one' holds a TPM of version 2.0");
    DO_COPY_NOT("with other banks", "tpm2", CLEAR, TPM(BANK("sha1")), CLEAR, TPM(BANK("sha256")),
                NULL, CONFIG_UNSUPPORTED, "PCR banks of TPM volume 'two' cannot differ from those of 'one'");
    DO_COPY_NOT("with another profile", "tpm2", CLEAR, TPM("<profile source='a'/>"), CLEAR,
                TPM("<profile source='b'/>"), NULL, CONFIG_UNSUPPORTED,
                "profile of TPM volume 'two' cannot differ");
    DO_COPY_NOT("with a profile", "tpm2", CLEAR, NULL, CLEAR, TPM("<profile source='b'/>"), NULL,
                CONFIG_UNSUPPORTED, "profile of TPM volume 'two' cannot differ");
    DO_COPY_NOT("of another TPM", "tpm2", CLEAR, TPM(EK(FINGERPRINT_EC)), CLEAR, NULL,
                SUCCESS " " BANKS " " START " " BARE(RSA2048), OPERATION_INVALID,
                "endorsement key rsa2048 has fingerprint " FINGERPRINT_RSA ", expected " FINGERPRINT_EC);
    DO_COPY_NOT("import with other banks", "tpm2", FOREIGN, NULL, CLEAR, TPM(BANK("sha1")),
                SUCCESS " " BANKS, CONFIG_UNSUPPORTED, "cannot differ from those of the imported TPM");
    DO_COPY_NOT("import of another version", "tpm12", FOREIGN, NULL, CLEAR, "<tpm version='2.0'/>",
                NULL, CONFIG_UNSUPPORTED, "holds a TPM of version 1.2");
    DO_COPY_NOT("import of nothing", "", FOREIGN, NULL, CLEAR, NULL, NULL, OPERATION_INVALID,
                "as TPM volume 'two', as its content is 'blank'");
    DO_COPY_NOT("import of an encrypted file, without a secret", "tpm2-encrypted", FOREIGN, NULL,
                CLEAR, NULL, NULL, CONFIG_UNSUPPORTED, "is encrypted, but TPM volume 'two' has no secret");
    DO_POOL("copy: import of what is no file", testCopyForeignNot);

    return ret;
}


# define DO_CONVERT_NOT(name, control, data, log, code, error) \
    DO_COPY_FULL(name, testCopyFake, "tpm2", TEST_SOURCE_LINEAR, CLEAR, NULL, "first", NULL, \
                 NULL, VIR_ERR_ ## code, error, \
                 { control, data, log, VIR_ERR_ ## code == VIR_ERR_OPERATION_TIMEOUT })

# define STATEBLOB DONE FLAGS "00000003" "00000003" "616263"

/* The source's and the target's swtpm get the same answers. */
static int
testConversionsNot(void)
{
    int ret = 0;

    DO_CONVERT_NOT("source cannot be opened", "2:" FAILED, NULL, "first\n", OPERATION_FAILED,
                   "cannot start the TPM on volume 'one' of pool 'tpmpool': first");
    DO_CONVERT_NOT("source does not tell its state", "12:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "did not execute CMD_GET_STATEBLOB");
    DO_CONVERT_NOT("source hangs", DONE " hang", NULL, NULL, OPERATION_TIMEOUT,
                   "TPM volume 'one' of pool 'tpmpool' did not answer CMD_GET_STATEBLOB");
    DO_COPY_FULL("secret missing", testCopyFake, "tpm2", TEST_SOURCE_LINEAR, CLEAR, NULL,
                 "missing", NULL, NULL, VIR_ERR_NO_SECRET,
                 "secret usage='missing' of TPM volume 'two' of pool 'tpmpool'",
                 { "12:" STATEBLOB, NULL, NULL, false });
    DO_CONVERT_NOT("target does not take the state", "12:" STATEBLOB " 13:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "volume 'two' of pool 'tpmpool': operation failed: swtpm did not execute CMD_SET_STATEBLOB");
    DO_CONVERT_NOT("target does not end", "12:" STATEBLOB " 3:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "volume 'two' of pool 'tpmpool': operation failed: swtpm did not execute CMD_SHUTDOWN");
    DO_CONVERT_NOT("target writes nothing", "12:" STATEBLOB, NULL, NULL,
                   INTERNAL_ERROR, "swtpm did not convert the state for TPM volume 'two' of pool 'tpmpool'");

    return ret;
}


/* The real swtpm. */

/* Returns the permanent state that swtpm finds in a file of state. */
static char *
testPermanent(const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMSwtpm) swtpm = virStorageTPMSwtpmNew(&testSpec, bytes);
    g_autoptr(virStorageTPMBytes) blob = NULL;

    if (!swtpm || virStorageTPMSwtpmInit(swtpm) < 0 ||
        !(blob = virStorageTPMSwtpmGetPermanent(swtpm)))
        return NULL;

    return testToHex(blob->data, blob->len);
}


/* What a file of state becomes under another secret: it stands in it then. */
static int
testConvert(virStoragePoolDef *pool,
            const char *from,
            const char *to)
{
    g_autoptr(virStorageVolDef) orig = testVol(pool, "one", from, TPM(UUID));
    g_autoptr(virStorageVolDef) vol = testVol(pool, "two", to, NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    virTPMState state;

    virStorageVolTPMDefSetSource(vol->tpm, "tpmpool", orig);

    if (!(copy = virStorageTPMCopy(pool, vol, orig)) ||
        !vol->tpm->hasuuid ||
        memcmp(vol->tpm->uuid, orig->tpm->uuid, VIR_UUID_BUFLEN) != 0) {
        testExpectNoError();
        return -1;
    }

    virTPMStateProbeBytes(copy->data, copy->len, &state);
    testWrite(orig->target.path, copy);
    return state.kind == VIR_TPM_STATE_LINEAR && state.encrypted == !!to ? 0 : -1;
}


/* Returns what swtpm finds in the volume that is converted. */
static char *
testConverted(virStoragePoolDef *pool)
{
    g_autofree char *path = testPath(pool, "one");
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || !(bytes = virStorageTPMBytesRead(fd, path)))
        return NULL;

    return testPermanent(bytes);
}


/* After each conversion, only the secret differs. The first one powers the TPM
 * on for the first time, which puts the PCR banks of its manufacture in force. */
static int
testConvertChain(virStoragePoolDef *pool)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autofree char *path = testPath(pool, "one");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    if (!testUseReal())
        return EXIT_AM_SKIP;

    testWrite(path, bytes);

    if (testConvert(pool, NULL, "first") < 0 ||
        testConvert(pool, "first", NULL) < 0 ||
        !(before = testConverted(pool)))
        return -1;

    if (testConvert(pool, NULL, "first") < 0 ||
        testConvert(pool, "first", "second") < 0 ||
        testConvert(pool, "second", NULL) < 0 ||
        !(after = testConverted(pool)))
        return -1;

    return virTestCompareToString(before, after);
}


static int
testConvertWrong(virStoragePoolDef *pool)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autofree char *path = testPath(pool, "one");
    g_autoptr(virStorageVolDef) orig = testVol(pool, "one", "second", NULL);
    g_autoptr(virStorageVolDef) vol = testVol(pool, "two", "second", NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;

    if (!testUseReal())
        return EXIT_AM_SKIP;

    testWrite(path, bytes);
    virStorageVolTPMDefSetSource(vol->tpm, "tpmpool", orig);

    if (testConvert(pool, NULL, "first") < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)))
        return -1;

    return testExpectError(VIR_ERR_AUTH_FAILED,
                           "wrong passphrase for TPM volume 'one' of pool 'tpmpool'");
}


/* What the real swtpm tells of a TPM that its guest has used. */

# define AUTH "00000009" "40000009" "0000" "00" "0000"
# define COMMAND(size, code) "8002" size code
# define STARTUP "8001" "0000000c" "00000144" "0000"
/* A guest has set passwords for the endorsement and lockout authority. */
# define PASSWORDS STARTUP " " \
    COMMAND("00000020", "00000129") "4000000b" AUTH "0003" "616263" " " \
    COMMAND("00000020", "00000129") "4000000a" AUTH "0003" "616263"
/* It has cleared its TPM, which is not allowed any more. */
# define CLEARED STARTUP " " \
    COMMAND("0000001b", "00000126") "4000000c" AUTH " " \
    COMMAND("0000001c", "00000127") "4000000c" AUTH "01"
/* It has defined an NV index with the password "a", and tried two others. */
# define NV_DEFINE COMMAND("0000002e", "0000012a") "40000001" AUTH "0001" "61" \
    "000e" "01800001" "000b" "00040004" "0000" "0008"
# define NV_GUESS COMMAND("00000024", "0000014e") "01800001" "01800001" \
    "0000000a" "40000009" "0000" "00" "0001" "62" "0001" "0000"
# define GUESSED STARTUP " " NV_DEFINE " " NV_GUESS " " NV_GUESS

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
    g_autoptr(virStorageTPMSwtpm) swtpm = virStorageTPMSwtpmNew(&testSpec, bytes);
    g_auto(GStrv) hex = g_strsplit(commands, " ", 0);
    size_t i;

    if (!swtpm || virStorageTPMSwtpmInit(swtpm) < 0)
        return NULL;

    for (i = 0; hex[i]; i++) {
        g_autoptr(virStorageTPMBytes) command = testFromHex(hex[i]);
        uint8_t response[4096];

        /* TPM_RC_RETRY: before the first guess is heard, that it was is written down */
        do {
            if (virStorageTPMSwtpmTransmit(swtpm, command->data, command->len,
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

    return virStorageTPMSwtpmFinish(swtpm);
}


static char *
testTold(const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMSwtpm) swtpm = virStorageTPMSwtpmNew(&testSpec, bytes);
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

    if (!swtpm || virStorageTPMSwtpmInit(swtpm) < 0 || virStorageTPMInspect(swtpm, found) < 0)
        return NULL;

    return testDescribe(found);
}


static int
testUsed(const void *opaque)
{
    const testUsedData *data = opaque;
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageTPMBytes) used = NULL;
    g_autofree char *told = NULL;

    if (!testUseReal())
        return EXIT_AM_SKIP;

    if (!(used = testUse(bytes, data->commands)) || !(told = testTold(used)))
        return -1;

    return virTestCompareToString(data->expect, told);
}


# define DO_USED(name, commands, expect) \
    do { \
        const testUsedData used_ = { commands, expect }; \
        if (virTestRun("a TPM " name ", by the real swtpm", testUsed, &used_) < 0) \
            ret = -1; \
    } while (0)

# define REAL_KEYS "rsa2048 " FINGERPRINT_TPM2_RSA "; secp384r1 " FINGERPRINT_TPM2_EC "; "

# define DO_REAL(name, fixture, how, from, to, learned) \
    DO_COPY_FULL(name ", by the real swtpm", testCopyReal, fixture, TEST_SOURCE_ ## how, \
                 from, NULL, to, NULL, learned, 0, NULL, { NULL, NULL, NULL, false })

static int
testReal(void)
{
    int ret = 0;

    DO_REAL("as it is", "tpm2", LINEAR, CLEAR, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import", "tpm2", PADDED, FOREIGN, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import of a blob", "tpm2", BLOB, FOREIGN, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import and encrypt", "tpm2", BLOB, FOREIGN, "first", "sha256; " REAL_KEYS);
    DO_COPY_FULL("wrong passphrase, by the real swtpm", testCopyReal, "tpm2-encrypted",
                 TEST_SOURCE_LINEAR, FOREIGN, NULL, "second", NULL, NULL,
                 VIR_ERR_AUTH_FAILED, "wrong passphrase for TPM volume 'two' of pool 'tpmpool'",
                 { NULL, NULL, NULL, false });
    DO_USED("that was started", STARTUP, "sha256; 0 of 3; " REAL_KEYS);
    DO_USED("with passwords", PASSWORDS, "sha256; 0 of 3; " REAL_KEYS);
    DO_USED("that was cleared", CLEARED, "sha256; 0 of 3; " REAL_KEYS);
    DO_USED("with wrong guesses", GUESSED, "sha256; 3 of 3, locked; " REAL_KEYS);
    DO_POOL("convert there and back", testConvertChain);
    DO_POOL("convert with a wrong passphrase", testConvertWrong);

    return ret;
}


static int
mymain(void)
{
    g_autoptr(virConnect) conn = virGetConnect();
    int ret = 0;

    if (!conn)
        return EXIT_FAILURE;

    /* as in the daemon */
    signal(SIGPIPE, SIG_IGN);

    conn->secretDriver = &testSecretDriver;
    virSetConnectSecret(conn);

    if (testCommands() < 0)
        ret = -1;
    if (testParts() < 0)
        ret = -1;
    if (!testUseRunDir()) {
        VIR_TEST_VERBOSE("\nskipped: /dev/shm is not a tmpfs");
        g_clear_pointer(&testRunDir, g_free);
    }
    if (testControls() < 0)
        ret = -1;
    if (testInspectKeys() < 0)
        ret = -1;
    if (testInspectAll() < 0)
        ret = -1;
    if (testCopies() < 0)
        ret = -1;
    if (testCopiesRefused() < 0)
        ret = -1;
    if (testConversionsNot() < 0)
        ret = -1;
    if (testReal() < 0)
        ret = -1;

    virSetConnectSecret(NULL);

    if (testRunDir && (testRunDirCount() != 0 || rmdir(testRunDir) < 0)) {
        VIR_TEST_VERBOSE("\nfiles are left in %s", testRunDir);
        ret = -1;
    }
    g_free(testRunDir);
    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)

#else /* ! F_OFD_SETLK */

int
main(void)
{
    return EXIT_AM_SKIP;
}

#endif /* ! F_OFD_SETLK */
