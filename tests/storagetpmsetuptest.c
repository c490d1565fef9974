/*
 * storagetpmsetuptest.c: TPMs that swtpm_setup makes for a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Command lines of swtpm_setup, what is learned from its output, and what becomes of a
 * TPM that a fake one makes.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"

#include "datatypes.h"
#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_scratch.h"
#include "storage/storage_tpm_setup.h"
#include "storage_vol_tpm.h"
#include "virfile.h"
#include "virtpm.h"
#define LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW
#include "storage/storage_tpm_setuppriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


#define PASSPHRASE "not a secret"
#define CAP(name) (1U << VIR_TPM_SWTPM_SETUP_FEATURE_ ## name)

static const unsigned char testUUID[VIR_UUID_BUFLEN] = {
    0x0a, 0x81, 0xf5, 0xb2, 0x84, 0x03, 0x7b, 0x23,
    0xc8, 0xd6, 0x21, 0xcc, 0xc2, 0xf8, 0x0d, 0x6f,
};


/* What the code under test finds on this host. */

static unsigned int testCaps;

bool
virTPMSwtpmSetupCapsGet(virTPMSwtpmSetupFeature cap)
{
    return testCaps & (1U << cap);
}


char *
virTPMGetSwtpmSetup(void)
{
    return g_strdup(abs_srcdir "/storagetpmdata/fakesetup.sh");
}


typedef enum {
    TEST_SECRET_GOOD,
    TEST_SECRET_MISSING,
    TEST_SECRET_NO_VALUE,
    TEST_SECRET_EMPTY,
    TEST_SECRET_UNTYPED,
    TEST_SECRET_OF_VOLUME,
} testSecretKind;

static testSecretKind testSecret;

static virSecretPtr
testSecretFind(virConnectPtr conn,
               const unsigned char *uuid)
{
    int usage = VIR_SECRET_USAGE_TYPE_VTPM;

    if (testSecret == TEST_SECRET_MISSING) {
        virReportError(VIR_ERR_NO_SECRET, "%s", "test has no such secret");
        return NULL;
    }

    if (testSecret == TEST_SECRET_UNTYPED)
        usage = VIR_SECRET_USAGE_TYPE_NONE;
    else if (testSecret == TEST_SECRET_OF_VOLUME)
        usage = VIR_SECRET_USAGE_TYPE_VOLUME;

    return virGetSecret(conn, uuid, usage, "tpm-key");
}


static virSecretPtr
testSecretLookupByUUID(virConnectPtr conn,
                       const unsigned char *uuid)
{
    return testSecretFind(conn, uuid);
}


static virSecretPtr
testSecretLookupByUsage(virConnectPtr conn,
                        int usageType,
                        const char *usageID)
{
    if (usageType != VIR_SECRET_USAGE_TYPE_VTPM || STRNEQ(usageID, "tpm-key"))
        abort();

    return testSecretFind(conn, testUUID);
}


static unsigned char *
testSecretGetValue(virSecretPtr secret G_GNUC_UNUSED,
                   size_t *len,
                   unsigned int fakeflags G_GNUC_UNUSED)
{
    const char *value = testSecret == TEST_SECRET_EMPTY ? "" : PASSPHRASE;

    if (testSecret == TEST_SECRET_NO_VALUE) {
        virReportError(VIR_ERR_NO_SECRET, "%s", "test has no such value");
        return NULL;
    }

    *len = strlen(value);
    return (unsigned char *)g_strdup(value);
}


static virSecretDriver testSecretDriver = {
    .secretLookupByUUID = testSecretLookupByUUID,
    .secretLookupByUsage = testSecretLookupByUsage,
    .secretGetValue = testSecretGetValue,
};


/* Command lines of swtpm_setup. */

typedef struct _testArgsData testArgsData;
struct _testArgsData {
    const char *vol;   /* storagetpmdata/setup-VOL.xml */
    const char *args;  /* storagetpmdata/setup-ARGS.args; NULL: fails */
    unsigned int caps;
    testSecretKind secret;
    int code;
    const char *error;
};


/* The number of the passphrase's descriptor differs from run to run. */
static char *
testHideDescriptor(const char *args)
{
    g_autoptr(GRegex) regex = g_regex_new("(--pwdfile-fd) [0-9]+", 0, 0, NULL);

    return g_regex_replace(regex, args, -1, 0, "\\1 FD", 0, NULL);
}


static int
testArgs(const void *opaque)
{
    const testArgsData *data = opaque;
    g_autofree char *file = g_strdup_printf("setup-%s", data->vol);
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/setup-%s.args",
                                              abs_srcdir, NULLSTR(data->args));
    g_autoptr(virStoragePoolDef) pool = testPoolNew("/var/lib/libvirt/tpm");
    g_autoptr(virStorageVolDef) vol = testVol(pool, file);
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *args = NULL;
    g_autofree char *hidden = NULL;

    memcpy(vol->tpm->uuid, testUUID, sizeof(testUUID));
    testCaps = data->caps;
    testSecret = data->secret;

    cmd = virStorageTPMSetupBuildCommand(pool, vol, "/usr/bin/swtpm_setup",
                                         "/run/libvirt/storage/tpm-setup.abcdef");

    if (!data->args)
        return cmd ? -1 : testExpectError(data->code, data->error);

    if (!cmd || !(args = virCommandToString(cmd, true)) ||
        testExpectPassphrase(cmd, args, vol->target.encryption ? PASSPHRASE : NULL) < 0)
        return -1;

    hidden = testHideDescriptor(args);
    return virTestCompareToFileFull(hidden, expect, false);
}


#define DO_ARGS(args, vol, caps) \
    do { \
        const testArgsData data = { vol, args, caps, TEST_SECRET_GOOD, 0, NULL }; \
        if (virTestRun("swtpm_setup for " args, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

#define DO_ARGS_ERROR(name, vol, caps, secret, code, error) \
    do { \
        const testArgsData data = { vol, NULL, caps, secret, code, error }; \
        if (virTestRun("no swtpm_setup, " name, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testCommands(void)
{
    const unsigned int pwd = CAP(CMDARG_PWDFILE_FD);
    int ret = 0;

    DO_ARGS("2.0", "2.0", 0);
    DO_ARGS("2.0-cert-files", "2.0", CAP(CMDARG_WRITE_EK_CERT_FILES));
    DO_ARGS("1.2", "1.2", 0);
    DO_ARGS("banks", "banks", 0);
    DO_ARGS("profile", "profile", CAP(CMDARG_PROFILE));
    DO_ARGS("encrypted", "encrypted", pwd);
    DO_ARGS("encrypted-usage", "encrypted-usage", pwd);

    DO_ARGS_ERROR("no profiles", "profile", 0, TEST_SECRET_GOOD,
                  VIR_ERR_ARGUMENT_UNSUPPORTED, "no support for profiles");
    DO_ARGS_ERROR("no passphrases", "encrypted", 0, TEST_SECRET_GOOD,
                  VIR_ERR_ARGUMENT_UNSUPPORTED, "passphrase using a file descriptor");
    DO_ARGS_ERROR("secret missing", "encrypted", pwd, TEST_SECRET_MISSING,
                  VIR_ERR_NO_SECRET, "secret uuid='22a88862-6d6e-4e4c-8d0a-8a8c2e4b1a11' of TPM volume 'guest1' of pool 'tpmpool' is not defined");
    DO_ARGS_ERROR("secret of that usage missing", "encrypted-usage", pwd,
                  TEST_SECRET_MISSING, VIR_ERR_NO_SECRET, "secret usage='tpm-key'");
    DO_ARGS_ERROR("secret without a value", "encrypted", pwd, TEST_SECRET_NO_VALUE,
                  VIR_ERR_NO_SECRET, "has no value");
    DO_ARGS_ERROR("secret empty", "encrypted", pwd, TEST_SECRET_EMPTY,
                  VIR_ERR_CONFIG_UNSUPPORTED, "is empty: set its value with secret-set-value");
    DO_ARGS_ERROR("secret of another type", "encrypted", pwd, TEST_SECRET_OF_VOLUME,
                  VIR_ERR_CONFIG_UNSUPPORTED, "has usage type 'volume'");

    return ret;
}


/* A secret without a usage type serves TPMs, too. */
static int
testUntypedSecret(const void *opaque G_GNUC_UNUSED)
{
    const testArgsData data = {
        "encrypted", "encrypted", CAP(CMDARG_PWDFILE_FD), TEST_SECRET_UNTYPED, 0, NULL
    };

    return testArgs(&data);
}


/* What swtpm_setup has made. */

/* Saves the certificate @fixture, as swtpm_setup does. */
static void
testSaveCertificate(const char *dir,
                    const char *name,
                    const char *fixture)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
    g_autoptr(virStorageTPMBytes) der = testCertificate(fixture);

    testWrite(path, der);
}


static int
testEndorsements(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);
    g_autofree char *link = testPath(pool, "ek-link.crt");
    g_autofree char *fifo = testPath(pool, "ek-fifo.crt");
    const char *dir = pool->target.path;

    testSaveCertificate(dir, "ek-secp384r1.crt", "ek-secp384r1.pem");
    testSaveCertificate(dir, "ek-rsa2048.crt", "ek-rsa2048.pem");
    testSaveCertificate(dir, "platform.crt", "ek-rsa2048.pem");
    testSaveCertificate(dir, "ek-rsa2048.key", "ek-rsa2048.pem");
    testFile(pool, "ek-junk.crt", "junk");
    testFile(pool, "ek-empty.crt", "");

    if (symlink("ek-rsa2048.crt", link) < 0 || mkfifo(fifo, 0600) < 0 ||
        virStorageTPMSetupReadEndorsements(tpm, dir) < 0 ||
        testExpectNoError() < 0 ||
        tpm->nendorsements != 2)
        return -1;

    if (testExpectEndorsement(&tpm->endorsements[0], "rsa2048", FINGERPRINT_RSA) < 0)
        return -1;

    return testExpectEndorsement(&tpm->endorsements[1], "secp384r1", FINGERPRINT_EC);
}


typedef struct _testBanksData testBanksData;
struct _testBanksData {
    const char *output;
    const char *asked;
    const char *learned;
};


static int
testBanks(const void *opaque)
{
    const testBanksData *data = opaque;
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);
    g_autofree char *banks = NULL;

    if (data->asked) {
        tpm->activePcrBanks = virBitmapNew(0);
        virBitmapSetBitExpand(tpm->activePcrBanks,
                              virDomainTPMPcrBankTypeFromString(data->asked));
    }

    virStorageTPMSetupLearnPcrBanks(tpm, data->output);
    banks = virDomainTPMPcrBanksToString(tpm->activePcrBanks);

    return virTestCompareToString(data->learned, NULLSTR(banks));
}


#define DO_BANKS(name, output, asked, learned) \
    do { \
        const testBanksData data = { output, asked, learned }; \
        if (virTestRun("PCR banks " name, testBanks, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testBanksAll(void)
{
    int ret = 0;

    DO_BANKS("that were made",
             "Successfully activated PCR banks sha256,sha384 among sha1,sha256,sha384.\n",
             NULL, "sha256,sha384");
    DO_BANKS("that were asked for", "activated PCR banks sha1 among sha1.\n",
             "sha512", "sha512");
    DO_BANKS("that are not known", "activated PCR banks sm3-256,sha1 among sha1.\n",
             NULL, "sha1");
    DO_BANKS("that are at the end", "activated PCR banks sha256", NULL, "sha256");
    DO_BANKS("that nobody names", "Ending vTPM manufacturing\n", NULL, "<null>");

    return ret;
}


/* Manufacture, with a swtpm_setup that only writes a state. */

typedef struct _testSetupData testSetupData;
struct _testSetupData {
    const char *vol;      /* storagetpmdata/setup-VOL.xml */
    const char *fixture;  /* virtpmstatedata/FIXTURE.base64; "": makes an empty file;
                           * NULL: makes nothing */
    int status;
    int code;             /* VIR_ERR_OK: a TPM is made */
    const char *error;
};


/* Puts what the fake swtpm_setup is to make into a folder. */
static void
testSetupFill(const char *dir,
              const testSetupData *data)
{
    g_autofree char *path = g_strdup_printf("%s/state", dir);
    g_autoptr(virStorageTPMBytes) state = testState(data->fixture);

    testWrite(path, state);
    testSaveCertificate(dir, "ek-rsa2048.crt", "ek-rsa2048.pem");
}


static int
testExpectManufactured(const virStorageTPMBytes *bytes,
                       const virStorageVolTPMDef *tpm,
                       const testSetupData *data)
{
    g_autoptr(virStorageTPMBytes) state = testState(data->fixture);
    g_autofree char *banks = virDomainTPMPcrBanksToString(tpm->activePcrBanks);

    if (testExpectBytes(bytes, state->data, state->len) < 0 ||
        tpm->nendorsements != 1)
        return -1;

    return virTestCompareToString("sha256", NULLSTR(banks));
}


/* Whatever comes of it, nothing is left in the run directory. */
static int
testSetup(virStoragePoolDef *pool,
          const void *opaque)
{
    const testSetupData *data = opaque;
    g_autofree char *file = g_strdup_printf("setup-%s", data->vol);
    g_autoptr(virStorageVolDef) vol = testVol(pool, file);
    g_autofree char *made = g_strdup_printf("%s.made", pool->target.path);
    g_autofree char *env = g_strdup_printf("%d:%s", data->status, data->fixture ? made : "");
    g_autoptr(virStorageTPMBytes) bytes = NULL;

    testCaps = CAP(TPM_2_0) | CAP(CMDARG_PWDFILE_FD) | CAP(CMDARG_WRITE_EK_CERT_FILES);
    testSecret = TEST_SECRET_GOOD;

    if (mkdir(made, 0700) < 0)
        return -1;
    if (data->fixture)
        testSetupFill(made, data);

    g_setenv("TEST_SETUP", env, true);
    virStorageTPMScratchInitialize(pool->target.path);
    bytes = virStorageTPMManufacture(pool, vol);
    virFileDeleteTree(made);

    if (testExpectFiles(pool, "") < 0)
        return -1;

    if (data->code != VIR_ERR_OK)
        return bytes ? -1 : testExpectError(data->code, data->error);

    return bytes ? testExpectManufactured(bytes, vol->tpm, data) : -1;
}


static int
testSetupRun(const void *opaque)
{
    return testInPool(testSetup, opaque);
}


/* A process that was killed: a zombie at most, as nobody may reap it here. */
static int
testExpectDead(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
    size_t i;

    for (i = 0; i < 500; i++) {
        g_autofree char *args = NULL;

        if (virFileReadAllQuiet(path, TEST_FILE_MAX, &args) <= 0)
            return 0;
        g_usleep(10 * 1000);
    }

    VIR_TEST_VERBOSE("process %s is still there", pid);
    return -1;
}


/* A tool that hangs is given up, with what it has started. */
static int
testSetupHangs(virStoragePoolDef *pool,
               const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "setup-2.0");
    g_autofree char *pids = g_strdup_printf("%s.pids", pool->target.path);
    g_autofree char *text = NULL;
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned int timeout = virStorageTPMSetupTimeout;
    size_t i;

    testCaps = CAP(TPM_2_0);
    g_setenv("TEST_SETUP", "hang:", true);
    g_setenv("TEST_SETUP_PIDS", pids, true);
    virStorageTPMSetupTimeout = 2;
    virStorageTPMScratchInitialize(pool->target.path);
    bytes = virStorageTPMManufacture(pool, vol);
    virStorageTPMSetupTimeout = timeout;

    if (bytes || testExpectFiles(pool, "") < 0 ||
        testExpectError(VIR_ERR_OPERATION_TIMEOUT,
                        "did not create TPM volume 'guest1' within 2 seconds") < 0 ||
        virFileReadAll(pids, TEST_FILE_MAX, &text) < 0)
        return -1;

    unlink(pids);
    lines = g_strsplit(g_strchomp(text), "\n", 0);

    for (i = 0; lines[i]; i++) {
        if (testExpectDead(lines[i]) < 0)
            return -1;
    }

    return i == 2 ? 0 : -1;
}


static int
testSetupSweep(virStoragePoolDef *pool,
               const char *arg G_GNUC_UNUSED)
{
    g_autofree char *scratch = testPath(pool, "tpm-setup.abcdef");
    g_autofree char *state = testPath(pool, "tpm-state.abcdef");
    g_autofree char *other = testPath(pool, "other.abcdef");

    if (mkdir(scratch, 0700) < 0 || mkdir(state, 0700) < 0 || mkdir(other, 0700) < 0)
        return -1;

    testFile(pool, "tpm-setup.abcdef/state", "state");
    testFile(pool, "tpm-state.abcdef/state", "state");
    testFile(pool, "tpmpool.guest1.secret.abcdef", "of somebody else");
    virStorageTPMScratchInitialize(pool->target.path);

    return testExpectFiles(pool, "other.abcdef tpmpool.guest1.secret.abcdef");
}


#define DO_SETUP(name, ...) \
    do { \
        const testSetupData data = { __VA_ARGS__ }; \
        if (virTestRun("manufacture " name, testSetupRun, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testManufacture(void)
{
    int ret = 0;

    DO_SETUP("clear", "2.0", "tpm2", 0, VIR_ERR_OK, NULL);
    DO_SETUP("encrypted", "encrypted", "tpm2-encrypted", 0, VIR_ERR_OK, NULL);
    DO_SETUP("clear, though told to encrypt", "encrypted", "tpm2", 0,
             VIR_ERR_INTERNAL_ERROR, "did not create the requested TPM");
    DO_SETUP("encrypted, though not told to", "2.0", "tpm2-encrypted", 0,
             VIR_ERR_INTERNAL_ERROR, "volume 'guest1'");
    DO_SETUP("fails", "2.0", "tpm2", 1, VIR_ERR_OPERATION_FAILED,
             "could not create TPM volume 'guest1', exit status 1: no CA  tried twice");
    DO_SETUP("makes a blank state", "2.0", "", 0,
             VIR_ERR_INTERNAL_ERROR, "did not create the requested TPM");
    DO_SETUP("makes nothing", "2.0", NULL, 0,
             VIR_ERR_SYSTEM_ERROR, "which swtpm_setup has created");
    DO_SETUP("of no such version", "1.2", "tpm12", 0, VIR_ERR_OPERATION_UNSUPPORTED,
             "does not support version 1.2 of TPM volume 'guest1'");
    DO_POOL("manufacture that hangs", testSetupHangs);
    DO_POOL("sweep of the run directory", testSetupSweep);

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
    if (virTestRun("swtpm_setup, secret without usage", testUntypedSecret, NULL) < 0)
        ret = -1;
    DO_POOL("endorsements", testEndorsements);
    if (testBanksAll() < 0)
        ret = -1;
    if (testManufacture() < 0)
        ret = -1;

    virSetConnectSecret(NULL);
    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
