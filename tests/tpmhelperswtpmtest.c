/*
 * tpmhelperswtpmtest.c: how libvirt_tpmhelper talks to swtpm
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A fake swtpm gives all answers that there can be on the control channel: what is
 * wrong must not be taken, and what does not come must not be waited for.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>

#include "testutils.h"
#include "testutilsstoragetpmpool.h"
#include "testutilstpmhelper.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_scratch.h"
#include "virerror.h"
#include "virfile.h"
#define LIBVIRT_TPMHELPER_SWTPMPRIV_H_ALLOW
#include "storage/tpmhelper_swtpmpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static virTPMHelperSwtpmSpec
testSpec(const testFake *fake)
{
    virTPMHelperSwtpmSpec spec = {
        testFakeSwtpm(fake), true, NULL, -1, fake->hangs ? 2 : 60
    };

    return spec;
}


/* Command lines of swtpm. */

typedef struct _testArgsData testArgsData;
struct _testArgsData {
    const char *args;
    virTPMHelperSwtpmSpec spec;
};


static int
testArgs(const void *opaque)
{
    const testArgsData *data = opaque;
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/swtpm-%s.args",
                                              abs_srcdir, data->args);
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *args = NULL;

    cmd = virTPMHelperSwtpmBuildCommand(&data->spec, 5, 6, "/run/dir/state");

    if (!cmd || !(args = virCommandToString(cmd, true)))
        return -1;

    return virTestCompareToFileFull(args, expect, false);
}


#define DO_ARGS(args, ...) \
    do { \
        const testArgsData data = { args, { "/usr/bin/swtpm", __VA_ARGS__ } }; \
        if (virTestRun("swtpm for " args, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testCommands(void)
{
    int ret = 0;

    DO_ARGS("2.0", true, NULL, -1, 60);
    DO_ARGS("1.2", false, NULL, -1, 60);
    DO_ARGS("encrypted", true, "/run/dir", 7, 60);

    return ret;
}


/* The control channel. */

typedef enum {
    TEST_STEP_INIT,
    TEST_STEP_GET,
    TEST_STEP_SET,
    TEST_STEP_PROFILE,
    TEST_STEP_TRANSMIT,
    TEST_STEP_FINISH,
} testStep;

typedef struct _testControlData testControlData;
struct _testControlData {
    testFake fake;
    testStep step;
    const char *result;   /* bytes that are returned, in hex; NULL: fails */
    virTPMHelperSwtpmFailure failure;
    const char *command;  /* which has failed */
};


static virStorageTPMBytes *
testTransmit(virTPMHelperSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) response = g_new0(virStorageTPMBytes, 1);
    const uint8_t command[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 0, 1 };
    ssize_t got;

    response->data = g_new0(uint8_t, 16);
    if ((got = virTPMHelperSwtpmTransmit(swtpm, command, sizeof(command),
                                         response->data, 16)) < 0)
        return NULL;

    response->len = got;
    return g_steal_pointer(&response);
}


/* Returns what is told of the profile; nothing if nothing is. */
static virStorageTPMBytes *
testProfile(virTPMHelperSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) told = g_new0(virStorageTPMBytes, 1);

    if (virTPMHelperSwtpmGetProfile(swtpm, (char **)&told->data) < 0)
        return NULL;

    told->len = told->data ? strlen((char *)told->data) : 0;
    return g_steal_pointer(&told);
}


/* Returns what the step returns; nothing for one that only succeeds. */
static virStorageTPMBytes *
testRunStep(virTPMHelperSwtpm *swtpm,
            testStep step)
{
    g_autoptr(virStorageTPMBytes) blob = NULL;
    int rc = -1;

    switch (step) {
    case TEST_STEP_INIT:
        rc = virTPMHelperSwtpmInit(swtpm);
        break;
    case TEST_STEP_GET:
        return virTPMHelperSwtpmGetPermanent(swtpm);
    case TEST_STEP_SET:
        blob = testState("tpm2");
        rc = virTPMHelperSwtpmSetPermanent(swtpm, blob);
        break;
    case TEST_STEP_PROFILE:
        return testProfile(swtpm);
    case TEST_STEP_TRANSMIT:
        return testTransmit(swtpm);
    case TEST_STEP_FINISH:
        return virTPMHelperSwtpmFinish(swtpm);
    }

    return rc < 0 ? NULL : g_new0(virStorageTPMBytes, 1);
}


static int
testExpectFailure(const virTPMHelperSwtpm *swtpm,
                  virTPMHelperSwtpmFailure failure,
                  const char *command)
{
    const char *failed = NULL;

    if (virTPMHelperSwtpmGetFailure(swtpm, &failed) == failure &&
        failed && STRPREFIX(failed, command))
        return testExpectNoError();

    VIR_TEST_VERBOSE("failed: %s", NULLSTR(failed));
    return -1;
}


static int
testControl(const void *opaque)
{
    const testControlData *data = opaque;
    const virTPMHelperSwtpmSpec spec = testSpec(&data->fake);
    virStorageTPMBytes state = { (uint8_t *)"state", 5 };
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    g_autoptr(virStorageTPMBytes) result = NULL;
    g_autofree char *hex = NULL;

    if (!(swtpm = virTPMHelperSwtpmNew(&spec, &state)))
        return -1;

    result = testRunStep(swtpm, data->step);

    if (!data->result)
        return result ? -1 : testExpectFailure(swtpm, data->failure, data->command);

    if (!result || testExpectNoError() < 0)
        return -1;

    hex = testToHex(result->data, result->len);
    return virTestCompareToString(data->result, hex);
}


/* What goes over the channel, byte for byte. */
static int
testControlSent(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    const testFake fake = {
        "00000000 00000000 000000000000000000000003000000026162"
        " 0000000000000000000000030000000163 00000000", NULL, NULL, false
    };
    virTPMHelperSwtpmSpec spec = testSpec(&fake);
    g_autofree char *record = testPath(pool, "record");
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    virStorageTPMBytes blob = { (uint8_t *)"xyz", 3 };
    g_autoptr(virStorageTPMBytes) back = NULL;
    g_autoptr(virStorageTPMBytes) state = NULL;
    g_autofree char *sent = NULL;

    g_setenv("FAKE_RECORD", record, TRUE);
    swtpm = virTPMHelperSwtpmNew(&spec, NULL);
    g_unsetenv("FAKE_RECORD");

    if (!swtpm ||
        virTPMHelperSwtpmSetPermanent(swtpm, &blob) < 0 ||
        virTPMHelperSwtpmInit(swtpm) < 0 ||
        !(back = virTPMHelperSwtpmGetPermanent(swtpm)) ||
        !(state = virTPMHelperSwtpmFinish(swtpm)) || state->len != 0 ||
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
testRealName(const void *opaque)
{
    const testFake fake = { NULL, NULL, NULL, false };
    const char *rundir = opaque;
    virTPMHelperSwtpmSpec spec = testSpec(&fake);
    virStorageTPMBytes bytes = { (uint8_t *)"state", 5 };
    g_autoptr(virStorageTPMScratch) scratch = NULL;
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;
    g_autoptr(virStorageTPMBytes) state = NULL;
    g_autofree char *name = NULL;

    if (!(scratch = virStorageTPMScratchNew(VIR_STORAGE_TPM_SCRATCH_STATE, -1, -1)))
        return -1;
    spec.dir = scratch;
    name = g_strdup_printf("%s/state", scratch);

    g_setenv("FAKE_OPENS", "1", TRUE);
    swtpm = virTPMHelperSwtpmNew(&spec, &bytes);
    g_unsetenv("FAKE_OPENS");

    if (!swtpm || !virFileExists(name) ||
        virTPMHelperSwtpmInit(swtpm) < 0 || virFileExists(name) ||
        !(state = virTPMHelperSwtpmFinish(swtpm)) ||
        testExpectBytes(state, (const uint8_t *)"State", 5) < 0)
        return -1;

    g_clear_pointer(&swtpm, virTPMHelperSwtpmFree);

    /* one that is not used, and one whose process is gone */
    if (!(swtpm = virTPMHelperSwtpmNew(&spec, &bytes)) || !virFileExists(name))
        return -1;
    g_clear_pointer(&swtpm, virTPMHelperSwtpmFree);
    if (virFileExists(name))
        return -1;

    if (!(swtpm = virTPMHelperSwtpmNew(&spec, &bytes)))
        return -1;
    virStorageTPMScratchInitialize(rundir);
    return testRunDirCount() == 0 ? 0 : -1;
}


/* What cannot be run is noticed only when it does not answer. */
static int
testControlNone(const void *opaque G_GNUC_UNUSED)
{
    const virTPMHelperSwtpmSpec spec = {
        abs_srcdir "/storagetpmdata/setup-2.0.args", true, NULL, -1, 60
    };
    g_autoptr(virTPMHelperSwtpm) swtpm = virTPMHelperSwtpmNew(&spec, NULL);

    if (!swtpm || virTPMHelperSwtpmInit(swtpm) == 0)
        return -1;

    return testExpectFailure(swtpm, VIR_TPM_HELPER_SWTPM_REFUSED, "CMD_INIT");
}


/* There is no room for the state, or no directory. */
static int
testStateNot(const void *opaque G_GNUC_UNUSED)
{
    const testFake fake = { NULL, NULL, NULL, false };
    virTPMHelperSwtpmSpec spec = testSpec(&fake);
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;

    spec.dir = "/proc/missing";
    if ((swtpm = virTPMHelperSwtpmNew(&spec, NULL)))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR,
                           "cannot create '/proc/missing/state' for the state of a TPM");
}


#define DO_STEP_FULL(name, step, control, data, result, failure, command) \
    do { \
        const testControlData control_ = { \
            { control, data, NULL, failure == VIR_TPM_HELPER_SWTPM_HANGS }, \
            TEST_STEP_ ## step, result, failure, command \
        }; \
        if (virTestRun("swtpm " #step ", " name, testControl, &control_) < 0) \
            ret = -1; \
    } while (0)

#define DO_STEP(name, step, control, data, result) \
    DO_STEP_FULL(name, step, control, data, result, VIR_TPM_HELPER_SWTPM_GOOD, NULL)

#define DO_STEP_FAILS(name, step, control) \
    DO_STEP_FULL(name, step, control, NULL, NULL, VIR_TPM_HELPER_SWTPM_REFUSED, "CMD_")

#define DO_STEP_HANGS(name, step, control, data, command) \
    DO_STEP_FULL(name, step, control, data, NULL, VIR_TPM_HELPER_SWTPM_HANGS, command)

static int
testControls(void)
{
    int ret = 0;

    DO_STEP("done", INIT, DONE, NULL, "");
    DO_STEP_FAILS("not done", INIT, FAILED);
    DO_STEP_FAILS("half an answer", INIT, "0000!");
    DO_STEP_FAILS("no answer", INIT, "!");
    DO_STEP_HANGS("half an answer, hangs", INIT, "0000", NULL, "CMD_INIT");

    DO_STEP("done", SET, DONE, NULL, "");
    DO_STEP_FAILS("not done", SET, FAILED);
    DO_STEP_FAILS("no answer", SET, "!");

    DO_STEP("state", FINISH, DONE, NULL, "7374617465");
    DO_STEP_FAILS("not done", FINISH, FAILED);
    DO_STEP_HANGS("not done, stays", FINISH, FAILED "~", NULL, "CMD_SHUTDOWN");
    DO_STEP_HANGS("done, stays", FINISH, DONE "~", NULL, "CMD_SHUTDOWN");
    DO_STEP_HANGS("done, closes, stays", FINISH, DONE "-", NULL, "CMD_SHUTDOWN");
    DO_STEP_HANGS("not done, closes, stays", FINISH, FAILED "-", NULL, "CMD_SHUTDOWN");
    DO_STEP_FAILS("no answer", FINISH, "!");

    DO_STEP("response", TRANSMIT, NULL, "0102030405", "0102030405");
    DO_STEP("longer response", TRANSMIT, NULL, "000102030405060708090a0b0c0d0e0f10",
            "000102030405060708090a0b0c0d0e0f");
    DO_STEP_FULL("no answer", TRANSMIT, NULL, "!", NULL, VIR_TPM_HELPER_SWTPM_REFUSED,
                 "a TPM command");
    DO_STEP_HANGS("hangs", TRANSMIT, NULL, "hang", "a TPM command");

    DO_POOL("swtpm is told", testControlSent);
    if (virTestRun("swtpm missing", testControlNone, NULL) < 0)
        ret = -1;
    if (virTestRun("no place for the state", testStateNot, NULL) < 0)
        ret = -1;

    return ret;
}


static int
testProfiles(void)
{
    int ret = 0;

    DO_STEP("told", PROFILE, DONE "00000003" "00000003" "7b7d00", NULL, "7b7d");
    DO_STEP("without a zero byte", PROFILE, DONE "00000002" "00000002" "7b7d", NULL, "7b7d");
    DO_STEP("not told", PROFILE, FAILED, NULL, "");
    DO_STEP("empty", PROFILE, DONE "00000000" "00000000", NULL, "");
    DO_STEP("a part only", PROFILE, DONE "00000004" "00000002" "7b7d", NULL, "");
    DO_STEP_FAILS("no answer", PROFILE, "!");
    DO_STEP_FAILS("part of the numbers", PROFILE, DONE "00000003!");
    DO_STEP_FAILS("part of the text", PROFILE, DONE "00000003" "00000003" "7b!");
    DO_STEP_FAILS("endless", PROFILE, DONE "ffffffff" "ffffffff" "7b7d00");
    DO_STEP_HANGS("hangs", PROFILE, "hang", NULL, "CMD_GET_INFO");

    return ret;
}


static int
testParts(void)
{
    int ret = 0;

    DO_STEP("one part", GET, DONE FLAGS "00000003" "00000003" "616263", NULL, "616263");
    DO_STEP("two parts", GET, DONE FLAGS "00000003" "00000002" "6162"
            " " DONE FLAGS "00000003" "00000001" "63", NULL, "616263");
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


static int
mymain(void)
{
    const char *rundir = testUseRunDir();
    int ret = 0;

    /* as in the helper */
    signal(SIGPIPE, SIG_IGN);

    if (testCommands() < 0)
        ret = -1;
    if (testParts() < 0)
        ret = -1;
    if (testControls() < 0)
        ret = -1;
    if (testProfiles() < 0)
        ret = -1;
    if (rundir && virTestRun("swtpm finds a real name", testRealName, rundir) < 0)
        ret = -1;
    if (testRunDirRemove() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
