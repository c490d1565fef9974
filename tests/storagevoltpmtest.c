/*
 * storagevoltpmtest.c: files of TPM volumes, and errors that concern them
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which files are opened, and by whom while somebody uses the volume. What users are told of
 * a volume whose content is no state, of one with and without a secret, and of one that swtpm
 * cannot open.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilserror.h"

#include "storage_vol_tpm.h"
#include "storage_vol_tpm_use.h"
#include "virfile.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_TPM

#ifdef F_OFD_SETLK


typedef struct _testCheckData testCheckData;
struct _testCheckData {
    virTPMStateKind kind;
    const char *message; /* after the volume's name; NULL: passes */
};


static int
testCheck(const void *opaque)
{
    const testCheckData *data = opaque;
    virTPMState state = { .kind = data->kind };
    g_autofree char *expect = NULL;
    int rc = virStorageVolTPMCheckState(&state, "tpmpool", "guest1");

    if (!data->message)
        return rc;

    if (rc == 0)
        return -1;

    expect = g_strdup_printf("TPM volume 'guest1' of pool 'tpmpool' %s",
                             data->message);
    return testExpectError(VIR_ERR_OPERATION_INVALID, expect);
}


static int
testCheckMendable(const void *opaque G_GNUC_UNUSED)
{
    virTPMState state = { .kind = VIR_TPM_STATE_DAMAGED, .mendable = true };

    if (virStorageVolTPMCheckState(&state, "tpmpool", "guest1") == 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID,
                           "TPM volume 'guest1' of pool 'tpmpool' is damaged, as its header");
}


static int
testCheckCipher(const void *opaque G_GNUC_UNUSED)
{
    virTPMState state = { .kind = VIR_TPM_STATE_LINEAR, .encrypted = true };

    if (virStorageVolTPMCheckCipher(&state, "here") < 0 ||
        virStorageVolTPMCheckSecret(&state, true, "/tpm/guest1", "tpmpool", "guest1") < 0)
        return -1;

    state.shortkey = true;
    if (virStorageVolTPMCheckSecret(&state, true, "/tpm/guest1", "tpmpool", "guest1") == 0)
        return -1;

    return testExpectError(VIR_ERR_CONFIG_UNSUPPORTED,
                           "'tpmpool/guest1' is encrypted with AES-128");
}


typedef struct _testCheckSecretData testCheckSecretData;
struct _testCheckSecretData {
    bool encrypted;
    bool secret;
    const char *message; /* NULL: passes */
};


static int
testCheckSecret(const void *opaque)
{
    const testCheckSecretData *data = opaque;
    const virTPMState state = {
        .kind = VIR_TPM_STATE_LINEAR,
        .encrypted = data->encrypted,
    };
    int rc = virStorageVolTPMCheckSecret(&state, data->secret, "/tpm/guest1",
                                         "tpmpool", "guest1");

    if (!data->message)
        return rc;

    return rc == 0 ? -1 : testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, data->message);
}


typedef struct _testReportData testReportData;
struct _testReportData {
    const char *log;
    int code;
    const char *message;
};


static int
testReport(const void *opaque)
{
    const testReportData *data = opaque;

    virStorageVolTPMReportSwtpm(data->log, "it has exited", "tpmpool", "guest1");

    return testExpectError(data->code, data->message);
}


# define ENCRYPTED true
# define CLEAR false

# define DO_CHECK(kind, message) \
    do { \
        const testCheckData data = { VIR_TPM_STATE_ ## kind, message }; \
        if (virTestRun("check: " #kind, testCheck, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testCheckAll(void)
{
    int ret = 0;

    DO_CHECK(LINEAR, NULL);
    DO_CHECK(BLANK, "is blank");
    DO_CHECK(DAMAGED, "is damaged, as its TPM state is truncated or inconsistent");
    if (virTestRun("check: mendable", testCheckMendable, NULL) < 0)
        ret = -1;
    if (virTestRun("check: cipher", testCheckCipher, NULL) < 0)
        ret = -1;
    DO_CHECK(BLOB, "holds a bare TPM state blob");
    DO_CHECK(QCOW2, "holds a qcow2 image");
    DO_CHECK(LUKS, "holds a LUKS container");
    DO_CHECK(UNKNOWN, "does not hold TPM state: move the file elsewhere and create the volume with vol-create");

    return ret;
}


# define DO_SECRET(name, encrypted, secret, message) \
    do { \
        const testCheckSecretData data = { encrypted, secret, message }; \
        if (virTestRun("secret: " name, testCheckSecret, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_REPORT(name, log, code, message) \
    do { \
        const testReportData data = { log, code, message }; \
        if (virTestRun("report: " name, testReport, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testSecrets(void)
{
    int ret = 0;

    DO_SECRET("clear without", CLEAR, false, NULL);
    DO_SECRET("encrypted with", ENCRYPTED, true, NULL);
    DO_SECRET("encrypted without", ENCRYPTED, false,
              "usage name is '/tpm/guest1'");
    DO_SECRET("clear with", CLEAR, true,
              "TPM volume 'guest1' of pool 'tpmpool' has a secret, but its content is not encrypted");

    DO_REPORT("wrong passphrase", "swtpm: Verification of HMAC failed. Data integrity is compromised\n",
              VIR_ERR_AUTH_FAILED,
              "wrong passphrase for TPM volume 'guest1' of pool 'tpmpool'");
    DO_REPORT("newer state", "libtpms/tpm2: NV_HEADER_UnmarshalVerbose: Minimum version 4 higher than implementation version 3 for type 0xab364723\nlibtpms/tpm2: Entering failure mode; code: 8, location: NvPowerOn line 126\n",
              VIR_ERR_CONFIG_UNSUPPORTED,
              "volume 'guest1' of pool 'tpmpool' has format 4 of a newer libtpms, but this host supports formats up to 3");
    DO_REPORT("volatile state", "libtpms/tpm2: Invalid magic. Expected 0xab364723, got 0x45637889\n",
              VIR_ERR_OPERATION_INVALID,
              "TPM volume 'guest1' of pool 'tpmpool' does not hold permanent TPM state");
    DO_REPORT("lines", "\nfirst\nData client disconnected\n\nsecond",
              VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': first; second");
    DO_REPORT("nothing", "", VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': it has exited");
    DO_REPORT("nothing of interest", "Data client disconnected\n", VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': it has exited");

    return ret;
}


typedef struct _testOpenData testOpenData;
struct _testOpenData {
    const char *dir;
    const char *path; /* of a volume in it */
};


/* A swtpm uses the volume without its lock: nobody gets it, but who is to take it over. */
static int
testUseLock(const char *path)
{
    VIR_AUTOCLOSE first = -1;
    VIR_AUTOCLOSE second = -1;
    VIR_AUTOCLOSE third = -1;

    if (virStorageVolTPMUseJoin(path, &first) != 0 || first >= 0 ||
        virStorageVolTPMUseTest(path, &first) != 0 || first >= 0 ||
        virStorageVolTPMUseBegin(path, &first) < 0)
        return -1;

    if (virStorageVolTPMOpen(path, "tpmpool", "guest1") >= 0 ||
        testExpectError(VIR_ERR_RESOURCE_BUSY, "TPM volume 'guest1' of pool 'tpmpool' is in use by process") < 0 ||
        virStorageVolTPMUseBegin(path, &third) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(third);
    if (virStorageVolTPMUseJoin(path, &second) != 1)
        return -1;

    VIR_FORCE_CLOSE(first);
    if (virStorageVolTPMUseTest(path, &third) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(second);
    VIR_FORCE_CLOSE(third);
    if (virStorageVolTPMUseJoin(path, &third) != 0 ||
        (third = virStorageVolTPMOpen(path, "tpmpool", "guest1")) < 0)
        return -1;

    virStorageVolTPMUseRemove(path);
    return 0;
}


static int
testUse(const void *opaque)
{
    const testOpenData *data = opaque;
    g_autofree char *lock = virStorageVolTPMUsePath(data->path);

    if (!g_str_has_suffix(lock, "/.guest1.lock") || testUseLock(data->path) < 0)
        return -1;

    return virFileExists(lock) ? -1 : 0;
}


static int
testOpenMissing(const void *opaque)
{
    const testOpenData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/missing", data->dir);

    if (virStorageVolTPMOpen(path, "tpmpool", "guest1") >= 0 || virFileExists(path))
        return -1;

    return testExpectError(VIR_ERR_NO_STORAGE_VOL,
                           "of TPM volume 'guest1' of pool 'tpmpool' not found");
}


static int
testExpectNotRegular(const char *path)
{
    g_autofree char *expect = g_strdup_printf("'%s' of TPM volume 'guest1' of pool 'tpmpool' is not a regular file",
                                              path);

    if (virStorageVolTPMOpen(path, "tpmpool", "guest1") >= 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID, expect);
}


static int
testOpenNotRegular(const void *opaque)
{
    const testOpenData *data = opaque;
    g_autofree char *link = g_strdup_printf("%s/link", data->dir);
    g_autofree char *fifo = g_strdup_printf("%s/fifo", data->dir);

    if (symlink(data->path, link) < 0 || mkfifo(fifo, 0600) < 0)
        return -1;

    if (testExpectNotRegular(link) < 0 ||
        testExpectNotRegular(fifo) < 0 ||
        testExpectNotRegular(data->dir) < 0 ||
        testExpectNotRegular("/dev/null") < 0)
        return -1;

    return 0;
}


static int
testOpenNoPermission(const void *opaque)
{
    const testOpenData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/readonly", data->dir);
    g_autofree char *expect = NULL;

    /* nothing is forbidden to root */
    if (geteuid() == 0)
        return EXIT_AM_SKIP;

    if (virFileWriteStr(path, "", 0400) < 0 || virStorageVolTPMOpen(path, "tpmpool", "guest1") >= 0)
        return -1;

    expect = g_strdup_printf("no permission to read and write '%s' of TPM volume 'guest1' of pool 'tpmpool'",
                             path);
    return testExpectError(VIR_ERR_SYSTEM_ERROR, expect);
}


static int
testOpenAll(void)
{
    g_autofree char *dir = g_strdup("/tmp/libvirt_tpm_volume_XXXXXX");
    g_autofree char *path = NULL;
    testOpenData data;
    int ret = 0;

    if (!g_mkdtemp(dir))
        return -1;

    path = g_strdup_printf("%s/guest1", dir);
    data = (testOpenData) { dir, path };

    if (virFileTouch(path, 0600) < 0 ||
        virTestRun("open: lock of users", testUse, &data) < 0 ||
        virTestRun("open: missing file", testOpenMissing, &data) < 0 ||
        virTestRun("open: not a regular file", testOpenNotRegular, &data) < 0 ||
        virTestRun("open: no permission", testOpenNoPermission, &data) < 0)
        ret = -1;

    virFileDeleteTree(dir);
    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testOpenAll() < 0)
        ret = -1;
    if (testCheckAll() < 0)
        ret = -1;
    if (testSecrets() < 0)
        ret = -1;

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
