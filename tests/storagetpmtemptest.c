/*
 * storagetpmtemptest.c: names and temporaries of a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which names volumes can have; temporaries, and how they are published under the
 * name of a volume.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_name.h"
#include "storage/storage_tpm_temp.h"
#include "storage_vol_tpm.h"
#include "virfileopen.h"
#include "virstring.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* What becomes of names. */

typedef struct _testNameData testNameData;
struct _testNameData {
    const char *name;
    const char *fault; /* NULL: a good name */
};


static int
testName(const void *opaque)
{
    const testNameData *data = opaque;
    int rc = virStorageVolTPMNameCheck(data->name);

    if (virStorageTPMNameIsVolume(data->name) != !data->fault)
        return -1;

    if (!data->fault)
        return rc == 0 ? testExpectNoError() : -1;

    return rc < 0 ? testExpectError(VIR_ERR_INVALID_ARG, data->fault) : -1;
}


#define DO_NAME(name, fault) \
    do { \
        const testNameData data = { name, fault }; \
        if (virTestRun("name " name, testName, &data) < 0) \
            ret = -1; \
    } while (0)

static int
testNames(void)
{
    g_autofree char *longest = g_strnfill(230, 'n');
    g_autofree char *tooLong = g_strnfill(231, 'n');
    const testNameData longestData = { longest, NULL };
    const testNameData tooLongData = { tooLong, "be longer than 230 bytes" };
    int ret = 0;

    DO_NAME("guest1", NULL);
    DO_NAME("guest 1", NULL);
    DO_NAME("g\xc3\xa4st", NULL);
    DO_NAME("guest1.tpm.xml.old", NULL);
    DO_NAME("guest1.abcdef.tmptpm", NULL);
    DO_NAME("", "cannot be empty");
    DO_NAME(".guest1", "begin with a dot");
    DO_NAME("..", "begin with a dot");
    DO_NAME("guests/guest1", "must be valid UTF-8 without slashes");
    DO_NAME("guest,1", "must be valid UTF-8 without slashes");
    DO_NAME("guest\\1", "must be valid UTF-8 without slashes");
    DO_NAME("guest\n1", "backslashes and control characters");
    DO_NAME("guest\t1", "backslashes and control characters");
    DO_NAME("guest\x7f", "backslashes and control characters");
    DO_NAME("guest1.tpm.xml", "end in '.tpm.xml'");

    if (virTestRun("longest name", testName, &longestData) < 0)
        ret = -1;
    if (virTestRun("name too long", testName, &tooLongData) < 0)
        ret = -1;

    return ret;
}


/* Temporaries. */

static int
testTempLocked(virStoragePoolDef *pool,
               const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autofree char *prefix = testPath(pool, ".guest1.");
    struct stat sb;

    if (!(temp = virStorageTPMTempNew(pool->target.path, "guest1", NULL)))
        return -1;

    if (!STRPREFIX(temp->path, prefix) ||
        !virStringHasSuffix(temp->path, ".tmptpm") ||
        !testIsLocked(temp->path) ||
        stat(temp->path, &sb) < 0 ||
        sb.st_size != 0 || (sb.st_mode & 07777) != 0600)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    return testExpectFiles(pool, "");
}


static int
testTempPerms(virStoragePoolDef *pool,
              const char *arg G_GNUC_UNUSED)
{
    virStoragePerms perms = { .mode = 0640, .uid = geteuid(), .gid = getegid() };
    g_autoptr(virStorageTPMTemp) temp = NULL;
    struct stat sb;

    if (geteuid() == 0) {
        perms.uid = 1234;
        perms.gid = 2345;
    }

    if (!(temp = virStorageTPMTempNew(pool->target.path, "guest1", &perms)) ||
        stat(temp->path, &sb) < 0)
        return -1;

    return (sb.st_mode & 07777) == 0640 &&
           sb.st_uid == perms.uid && sb.st_gid == perms.gid ? 0 : -1;
}


static int
testTempNoDirectory(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    g_autofree char *missing = testPath(pool, "missing");
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNew(missing, "guest1", NULL);

    return temp ? -1 : testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot create file '");
}


static int
testTempKeep(virStoragePoolDef *pool,
             const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *name = g_path_get_basename(temp->path);

    virStorageTPMTempKeep(temp);
    g_clear_pointer(&temp, virStorageTPMTempFree);
    return testExpectFiles(pool, name);
}


/* A blank volume is one on purpose. */
static int
testTempPublish(virStoragePoolDef *pool,
                const char *arg)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, arg);
    g_autofree char *path = testPath(pool, "guest1");

    if (virStorageTPMTempPublish(temp, path) < 0 ||
        temp->path || !testIsLocked(path))
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (testIsLocked(path) || testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectState(pool, "guest1", arg ? arg : "");
}


static int
testTempPublishExisting(virStoragePoolDef *pool,
                        const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *path = testPath(pool, "guest1");

    testFile(pool, "guest1", "old");

    if (virStorageTPMTempPublish(temp, path) == 0 ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectText(pool, "guest1", "old");
}


static int
testTempPublishNowhere(virStoragePoolDef *pool,
                       const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *path = testPath(pool, "missing/guest1");

    if (virStorageTPMTempPublish(temp, path) == 0 ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot rename '") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    return testExpectFiles(pool, "");
}


/* What a volume cannot hold, whoever brings it. */
static virStorageTPMBytes *
testBadBytes(const char *what)
{
    virStorageTPMBytes *bytes = testState("tpm2");

    if (STREQ(what, "short")) {
        bytes->len--;
    } else if (STREQ(what, "blob")) {
        memmove(bytes->data, bytes->data + 192, bytes->len - 192);
        bytes->len = 1315;
    } else if (STREQ(what, "nothing")) {
        bytes->len = 0;
    } else if (STREQ(what, "long")) {
        bytes->data = g_realloc(bytes->data, VIR_TPM_STATE_MAX_SIZE + 192);
        bytes->len = VIR_TPM_STATE_MAX_SIZE + 192;
    } else {
        memset(bytes->data, *what, bytes->len);
    }

    return bytes;
}


static int
testPublishBad(virStoragePoolDef *pool,
               const char *arg)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autoptr(virStorageTPMBytes) bytes = testBadBytes(arg);
    g_autofree char *path = testPath(pool, "guest1");
    g_autofree char *other = testPath(pool, "guest2");

    testStateFile(pool, "guest1", "tpm12");

    if (!(temp = virStorageTPMTempNew(pool->target.path, "guest1", NULL)))
        return -1;

    /* virStorageTPMTempWrite() would not write that */
    temp->content = VIR_STORAGE_TPM_CONTENT_STATE;

    if (safewrite(temp->fd, bytes->data, bytes->len) != bytes->len ||
        virStorageTPMTempPublish(temp, other) == 0 ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "and not complete TPM state") < 0 ||
        virStorageTPMTempReplace(temp, path) == 0 ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "and not complete TPM state") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectState(pool, "guest1", "tpm12");
}


/* What was never written is nothing that could be published. */
static int
testPublishUnwritten(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNew(pool->target.path, "guest1", NULL);
    g_autofree char *path = testPath(pool, "guest1");

    if (!temp || virStorageTPMTempPublish(temp, path) == 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID, "is 'blank'");
}


static int
testOpen(virStoragePoolDef *pool,
         const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1");
    g_autofree char *link = testPath(pool, "link");
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    testFile(pool, "guest1", "state");

    if ((fd = virFileOpenRegular(path, O_RDONLY, &sb)) < 0 || sb.st_size != 5)
        return -1;

    if (virFileOpenRegular(pool->target.path, O_RDONLY, &sb) >= 0 || errno != ENODEV)
        return -1;

    if (symlink("guest1", link) < 0 ||
        virFileOpenRegular(link, O_RDONLY, &sb) >= 0 || errno != ELOOP)
        return -1;

    return testExpectNoError();
}


static int
testFiles(void)
{
    int ret = 0;

    DO_POOL("temporary is locked, and goes", testTempLocked);
    DO_POOL("temporary has owner and mode", testTempPerms);
    DO_POOL("temporary without a directory", testTempNoDirectory);
    DO_POOL("temporary is kept", testTempKeep);
    DO_POOL_ARG("publish", testTempPublish, "tpm2");
    DO_POOL_ARG("publish encrypted", testTempPublish, "tpm2-encrypted");
    DO_POOL("publish blank", testTempPublish);
    DO_POOL_ARG("publish what is cut short", testPublishBad, "short");
    DO_POOL_ARG("publish a blob", testPublishBad, "blob");
    DO_POOL_ARG("publish nothing", testPublishBad, "nothing");
    DO_POOL_ARG("publish what is too long", testPublishBad, "long");
    DO_POOL_ARG("publish zeros", testPublishBad, "");
    DO_POOL_ARG("publish what is foreign", testPublishBad, "x");
    DO_POOL("publish what was not written", testPublishUnwritten);
    DO_POOL("publish replaces nothing", testTempPublishExisting);
    DO_POOL("publish to nowhere", testTempPublishNowhere);
    DO_POOL("open", testOpen);

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testNames() < 0)
        ret = -1;
    if (testFiles() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
