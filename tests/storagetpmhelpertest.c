/*
 * storagetpmhelpertest.c: have libvirt_tpmhelper open TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The helper is run as it is in a daemon, but as the user who runs the test; or a fake
 * one that ends in other ways than the helper does.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilstpmhelper.h"

#include "datatypes.h"
#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#define LIBVIRT_STORAGE_TPM_HELPERPRIV_H_ALLOW
#include "storage/storage_tpm_helperpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


#define TEST_FIRST "first's passphrase"
#define FAKE_HELPER abs_srcdir "/storagetpmdata/fakehelper.sh"


/* What the code under test finds on this host. */

static const char *testSwtpm; /* NULL: none */

char *
virTPMGetSwtpm(void)
{
    if (!testSwtpm)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s", "test has no swtpm");

    return g_strdup(testSwtpm);
}


static const char *testHelper; /* NULL: the one that was built */

char *
virFileFindResource(const char *filename,
                    const char *builddir,
                    const char *installdir G_GNUC_UNUSED)
{
    if (testHelper)
        return g_strdup(testHelper);

    return g_build_filename(builddir, filename, NULL);
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


static const virSecretLookupTypeDef testSecretFirst = {
    VIR_SECRET_LOOKUP_TYPE_USAGE, { .usage = (char *)"first" }
};

static const virSecretLookupTypeDef testSecretSecond = {
    VIR_SECRET_LOOKUP_TYPE_USAGE, { .usage = (char *)"second" }
};

static const virSecretLookupTypeDef testSecretMissing = {
    VIR_SECRET_LOOKUP_TYPE_USAGE, { .usage = (char *)"missing" }
};

static const virStorageTPMHelperSpec testSpec = {
    "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_2_0, NULL
};


/* Command lines of the helper. */

typedef struct _testArgsData testArgsData;
struct _testArgsData {
    const char *args;
    const char *command;
    virStorageTPMHelperSpec from;
    const virSecretLookupTypeDef *to;
    const char *dir;
};


static int
testArgs(const void *opaque)
{
    const testArgsData *data = opaque;
    const virStorageTPMHelperSpec to = {
        "tpmpool", "guest2", data->from.version, data->to
    };
    const virStorageTPMHelperRun run = {
        data->command, &data->from, &to, 20, STREQ(data->command, "inspect") ? -1 : 21
    };
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/helper-%s.args",
                                              abs_srcdir, data->args);
    g_autoptr(GRegex) regex = g_regex_new("(key )[0-9]+", 0, 0, NULL);
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *args = NULL;
    g_autofree char *hidden = NULL;

    virStorageTPMHelperTimeout = 60;
    cmd = virStorageTPMHelperBuildCommand(&run, "/usr/libexec/libvirt_tpmhelper",
                                          "/usr/bin/swtpm", data->dir);

    if (!cmd || !(args = virCommandToString(cmd, true)) ||
        strstr(args, "passphrase"))
        return -1;

    if (data->from.secret && !data->to &&
        testExpectPassphrase(cmd, args, TEST_FIRST) < 0)
        return -1;

    hidden = g_regex_replace(regex, args, -1, 0, "\\1FD", 0, NULL);
    return virTestCompareToFileFull(hidden, expect, false);
}


static int
testArgsNot(const void *opaque G_GNUC_UNUSED)
{
    const virStorageTPMHelperSpec spec = {
        "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_2_0, &testSecretMissing
    };
    const virStorageTPMHelperRun run = { "inspect", &spec, NULL, 20, -1 };
    g_autoptr(virCommand) cmd = virStorageTPMHelperBuildCommand(&run, "/usr/bin/helper",
                                                                "/usr/bin/swtpm", NULL);

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


#define DO_ARGS(args, command, version, from, to, dir) \
    do { \
        const testArgsData data = { \
            args, command, { "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_ ## version, from }, \
            to, dir \
        }; \
        if (virTestRun("helper for " args, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testCommands(void)
{
    int ret = 0;

    DO_ARGS("inspect", "inspect", 2_0, NULL, NULL, "/run/dir");
    DO_ARGS("inspect-encrypted", "inspect", 2_0, &testSecretFirst, NULL, "/run/dir");
    DO_ARGS("inspect-1.2", "inspect", 1_2, NULL, NULL, NULL);
    DO_ARGS("decrypt", "decrypt", 1_2, &testSecretFirst, NULL, "/run/dir");
    DO_ARGS("encrypt", "convert", 2_0, NULL, &testSecretSecond, "/run/dir");
    DO_ARGS("rekey", "convert", 2_0, &testSecretFirst, &testSecretSecond, "/run/dir");
    if (virTestRun("secret missing", testArgsNot, NULL) < 0)
        ret = -1;
    if (virTestRun("passphrase erased", testPassphrase, NULL) < 0)
        ret = -1;

    return ret;
}


/* What a run of the helper becomes. */

typedef struct _testRunData testRunData;
struct _testRunData {
    const char *helper; /* how the fake one ends; NULL: it is the real one */
    testFake fake;      /* the swtpm that it runs */
    int code;           /* VIR_ERR_OK: it is done */
    const char *text;   /* of the error, or what was learned */
};


/* Whether a process of the run directory is left. */
static int
testExpectNothingLeft(void)
{
    return testRunDirCount() <= 0 ? 0 : -1;
}


static int
testRun(const void *opaque)
{
    const testRunData *data = opaque;
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);
    g_autofree char *learned = NULL;
    int rc;

    testSwtpm = testFakeSwtpm(&data->fake);
    testHelper = data->helper ? FAKE_HELPER : NULL;
    virStorageTPMHelperTimeout = data->fake.hangs ? 1 : 60;
    g_setenv("FAKE_HELPER", NULLSTR_EMPTY(data->helper), TRUE);

    rc = virStorageTPMHelperInspect(&testSpec, bytes, found);
    testHelper = NULL;

    if (testExpectNothingLeft() < 0)
        return -1;

    if (data->code != VIR_ERR_OK)
        return rc == 0 ? -1 : testExpectError(data->code, data->text);

    if (rc < 0 || testExpectNoError() < 0)
        return -1;

    learned = testDescribe(found);
    return virTestCompareToString(data->text, learned);
}


static int
testRunNot(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageTPMBytes) none = testState("");
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

    testSwtpm = NULL;
    if (virStorageTPMHelperInspect(&testSpec, bytes, found) == 0 ||
        testExpectError(VIR_ERR_OPERATION_UNSUPPORTED, "test has no swtpm") < 0)
        return -1;

    testSwtpm = FAKE_HELPER;
    if (virStorageTPMHelperInspect(&testSpec, none, found) == 0 ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "does not hold permanent TPM state") < 0)
        return -1;

    testHelper = "/missing/helper";
    if (virStorageTPMHelperInspect(&testSpec, bytes, found) == 0 ||
        testExpectError(VIR_ERR_INTERNAL_ERROR, "could not open TPM volume 'guest1'") < 0)
        return -1;
    testHelper = NULL;

    /* what cannot be run is noticed only when it does not answer */
    testSwtpm = abs_srcdir "/storagetpmdata/setup-2.0.args";
    if (virStorageTPMHelperInspect(&testSpec, bytes, found) == 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_FAILED, "cannot execute binary");
}


#define DO_SWTPM(name, control, data, log, code, text) \
    do { \
        const testRunData run_ = { \
            NULL, { control, data, log, code == VIR_ERR_OPERATION_TIMEOUT }, code, text \
        }; \
        if (virTestRun("helper: " name, testRun, &run_) < 0) \
            ret = -1; \
    } while (0)

#define DO_HELPER(name, how, hangs, code, text) \
    do { \
        const testRunData run_ = { how, { NULL, NULL, NULL, hangs }, code, text }; \
        if (virTestRun("helper: " name, testRun, &run_) < 0) \
            ret = -1; \
    } while (0)

#define INVALID(name, xml) \
    DO_HELPER(name, "print " xml, false, VIR_ERR_INTERNAL_ERROR, \
              "returned an invalid description of TPM volume 'guest1' of pool 'tpmpool'")

#define TPM_WITH(inner) "<tpm version='2.0'>" inner "</tpm>"
#define EK(key, fingerprint, certificate) \
    TPM_WITH("<endorsement key='" key "' fingerprint='" fingerprint "'>" certificate "</endorsement>")
#define PEM(text) "-----BEGIN CERTIFICATE-----\n" text "\n-----END CERTIFICATE-----\n"

static int
testRuns(void)
{
    int ret = 0;

    DO_SWTPM("done", NULL, SUCCESS " " BANKS, NULL, VIR_ERR_OK, "sha256; ");
    DO_SWTPM("says nothing", FAILED, NULL, NULL, VIR_ERR_OPERATION_FAILED,
             "cannot start the TPM on volume 'guest1' of pool 'tpmpool': swtpm did not execute CMD_INIT");
    DO_SWTPM("says why", FAILED, NULL, "first\nsecond\nData client disconnected\n",
             VIR_ERR_OPERATION_FAILED, "'tpmpool': first; second");
    DO_SWTPM("says why and exits", "!", NULL, "first\nsecond\n",
             VIR_ERR_OPERATION_FAILED, "'tpmpool': first; second");
    DO_SWTPM("says what is no text", "!", NULL, "fi\001\033[rst\nsecond\n",
             VIR_ERR_OPERATION_FAILED, "'tpmpool': fi  [rst; second");
    DO_SWTPM("wrong passphrase", FAILED, NULL,
             "swtpm: Verification of HMAC failed. Data integrity is compromised\n",
             VIR_ERR_AUTH_FAILED, "wrong passphrase for TPM volume 'guest1' of pool 'tpmpool'");
    DO_SWTPM("of a newer libtpms", FAILED, NULL,
             "Minimum version 4 higher than implementation version 3 for type 0xab364723\n",
             VIR_ERR_CONFIG_UNSUPPORTED, "has format 4 of a newer libtpms");
    DO_SWTPM("half an answer, hangs", "0000", NULL, NULL, VIR_ERR_OPERATION_TIMEOUT,
             "swtpm for TPM volume 'guest1' of pool 'tpmpool' did not answer CMD_INIT within 1 seconds");
    DO_SWTPM("a command hangs", NULL, "hang", NULL, VIR_ERR_OPERATION_TIMEOUT,
             "did not answer a TPM command within 1 seconds");

    DO_HELPER("crashes", "signal SEGV", false, VIR_ERR_OPERATION_ABORTED,
              "was ended by signal 11 while it opened TPM volume 'guest1' of pool 'tpmpool'");
    DO_HELPER("is killed", "signal KILL", false, VIR_ERR_OPERATION_ABORTED,
              "was ended by signal 9 while it opened TPM volume 'guest1' of pool 'tpmpool'");
    DO_HELPER("has used up its time", "signal ALRM", false, VIR_ERR_OPERATION_TIMEOUT,
              "did not finish with TPM volume 'guest1' of pool 'tpmpool'");
    DO_HELPER("stops", "stop", true, VIR_ERR_OPERATION_TIMEOUT,
              "did not finish with TPM volume 'guest1' of pool 'tpmpool'");
    DO_HELPER("leaves something running", "leave", false, VIR_ERR_OPERATION_ABORTED,
              "was ended by signal 11");
    DO_HELPER("has an error", "exit 1", false, VIR_ERR_INTERNAL_ERROR,
              "could not open TPM volume 'guest1' of pool 'tpmpool', exit status 1: something");
    DO_HELPER("does not know the arguments", "exit 2", false, VIR_ERR_INTERNAL_ERROR,
              "exit status 2: something");
    DO_HELPER("ends as no helper does", "exit 77", false, VIR_ERR_INTERNAL_ERROR,
              "exit status 77: something");
    DO_HELPER("tells of another TPM", "exit 5", false, VIR_ERR_INTERNAL_ERROR,
              "exit status 5: something");
    if (virTestRun("helper: not run", testRunNot, NULL) < 0)
        ret = -1;

    return ret;
}


static int
testPrints(void)
{
    int ret = 0;

    DO_HELPER("prints a TPM", "print <tpm version='2.0'><active_pcr_banks><sha1/></active_pcr_banks>"
              "<inspection verified='no'><lockout active='yes' tries='2' limit='3'/></inspection></tpm>",
              false, VIR_ERR_OK, "sha1; 2 of 3, locked; ");
    DO_HELPER("prints a key", "print " EK("rsa2048", FINGERPRINT_RSA, PEM("MIID/+==")),
              false, VIR_ERR_OK, "; rsa2048 " FINGERPRINT_RSA " +; ");
    DO_HELPER("prints what is not asked", "print <tpm version='2.0' manufacture='no'>"
              "<uuid>0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f</uuid></tpm>", false, VIR_ERR_OK, "; ");
    INVALID("prints nothing", "");
    INVALID("prints no XML", "<tpm");
    INVALID("prints another element", "<volume/>");
    INVALID("prints an unknown bank", TPM_WITH("<active_pcr_banks><x/></active_pcr_banks>"));
    INVALID("prints a key without a name", EK("", FINGERPRINT_RSA, ""));
    INVALID("prints a key that is no word", EK("rsa 2048", FINGERPRINT_RSA, ""));
    INVALID("prints a key in capitals", EK("RSA2048", FINGERPRINT_RSA, ""));
    INVALID("prints a fingerprint of another digest", EK("rsa2048", "md5:1f", ""));
    INVALID("prints a short fingerprint", EK("rsa2048", "sha256:1f", ""));
    INVALID("prints no fingerprint", TPM_WITH("<endorsement key='rsa2048'/>"));
    INVALID("prints no certificate", EK("rsa2048", FINGERPRINT_RSA, "certificate"));
    INVALID("prints an empty certificate", EK("rsa2048", FINGERPRINT_RSA, "-----BEGIN CERTIFICATE-----\n"));
    INVALID("prints a certificate with more", EK("rsa2048", FINGERPRINT_RSA, PEM("MIID\n&lt;x>")));
    INVALID("prints a key twice", TPM_WITH("<endorsement key='rsa2048' fingerprint='" FINGERPRINT_RSA "'/>"
                                           "<endorsement key='rsa2048' fingerprint='" FINGERPRINT_RSA "'/>"));
    DO_HELPER("prints a profile of some words",
              "print " TPM_WITH("<inspection verified='no'><profile name='my site/1'/></inspection>"),
              false, VIR_ERR_OK, "; my site/1 0; ");
    INVALID("prints a profile that cannot be printed",
            TPM_WITH("<inspection verified='no'><profile name='a&#9;b'/></inspection>"));
    INVALID("prints a profile without a name",
            TPM_WITH("<inspection verified='no'><profile name=''/></inspection>"));
    INVALID("prints that it was verified", TPM_WITH("<inspection verified='yes'/>"));
    INVALID("prints a document type",
            "<!DOCTYPE tpm [<!ENTITY a 'aaaa'>]>" TPM_WITH("<inspection verified='no'/>"));
    INVALID("prints a negative number",
            TPM_WITH("<inspection verified='no'><lockout active='no' tries='-1' limit='1'/></inspection>"));
    DO_HELPER("prints without end", "print long", false, VIR_ERR_INTERNAL_ERROR,
              "returned an invalid description");

    return ret;
}


/* Converted state is what was asked for, or it is none. */
static int
testConvertNot(const void *opaque G_GNUC_UNUSED)
{
    const virStorageTPMHelperSpec to = {
        "tpmpool", "guest2", VIR_DOMAIN_TPM_VERSION_2_0, &testSecretSecond
    };
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageTPMBytes) converted = NULL;

    testSwtpm = FAKE_HELPER;
    testHelper = FAKE_HELPER;
    virStorageTPMHelperTimeout = 60;
    g_setenv("FAKE_HELPER", "exit 0", TRUE);
    converted = virStorageTPMHelperConvert(&testSpec, &to, bytes);
    testHelper = NULL;

    if (converted || testExpectNothingLeft() < 0 ||
        testExpectError(VIR_ERR_INTERNAL_ERROR,
                        "swtpm did not convert the state for TPM volume 'guest2'") < 0)
        return -1;

    testHelper = FAKE_HELPER;
    g_setenv("FAKE_HELPER", "exit 5", TRUE);
    converted = virStorageTPMHelperConvert(&testSpec, &to, bytes);
    testHelper = NULL;

    return converted ? -1 :
        testExpectError(VIR_ERR_OPERATION_FAILED,
                        "cannot start the TPM on volume 'guest2' of pool 'tpmpool': swtpm did not execute something");
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

    testUseSecrets(conn);

    if (testCommands() < 0)
        ret = -1;
    if (testPrints() < 0)
        ret = -1;
    ignore_value(testUseRunDir());
    if (testRuns() < 0)
        ret = -1;
    if (virTestRun("helper: does not convert", testConvertNot, NULL) < 0)
        ret = -1;

    virSetConnectSecret(NULL);

    if (testRunDirRemove() < 0)
        ret = -1;
    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
