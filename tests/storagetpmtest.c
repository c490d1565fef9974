/*
 * storagetpmtest.c: the files of a tpm storage pool, and swtpm_setup
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"

#include "datatypes.h"
#include "storage/storage_tpm_certificate.h"
#include "storage/storage_tpm_endorsement.h"
#include "storage/storage_tpm_scan.h"
#include "storage/storage_tpm_scratch.h"
#include "storage/storage_tpm_setup.h"
#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_name.h"
#include "storage/storage_tpm_sidecar.h"
#include "storage/storage_tpm_store.h"
#include "storage/storage_tpm_sweep.h"
#include "storage/storage_tpm_temp.h"
#include "storage/tpmhelper_key.h"
#include "storage_vol_tpm.h"
#include "virfile.h"
#include "virofdlock.h"
#include "virstring.h"
#include "virtpm.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#define LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW
#include "storage/storage_tpm_setuppriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#ifdef F_OFD_SETLK

# define SIDECAR_MAX (64 * 1024)
# define PASSPHRASE "not a secret"
# define CAP(name) (1U << VIR_TPM_SWTPM_SETUP_FEATURE_ ## name)

static const unsigned char testUUID[VIR_UUID_BUFLEN] = {
    0x0a, 0x81, 0xf5, 0xb2, 0x84, 0x03, 0x7b, 0x23,
    0xc8, 0xd6, 0x21, 0xcc, 0xc2, 0xf8, 0x0d, 0x6f,
};


/* What others do meanwhile. */

typedef enum {
    TEST_WINDOW_NONE,
    TEST_WINDOW_BEFORE_LOCK,
    TEST_WINDOW_BEFORE_RENAME_NEW,
    TEST_WINDOW_AFTER_UNLINK,
} testWindowKind;

/* Another host, or whoever puts files there by hand: @func runs once, in the
 * window that is open, after the window was passed @skip times. */
static struct {
    testWindowKind kind;
    size_t skip;
    void (*func)(void);
    virStoragePoolDef *pool;
    const virStorageVolDef *vol;
    virStorageTPMTemp *temp; /* the other's own */
    bool passed;
} testWindow;

/* fsync() of a directory fails. */
static bool testNoSyncDir;


static void
testWindowPass(testWindowKind kind)
{
    int saved = errno;

    if (testWindow.kind != kind || testWindow.skip-- > 0)
        return;

    testWindow.kind = TEST_WINDOW_NONE;
    testWindow.passed = true;
    testWindow.func();
    errno = saved;
}


static void
testWindowOpen(testWindowKind kind,
               size_t skip,
               void (*func)(void),
               virStoragePoolDef *pool,
               const virStorageVolDef *vol)
{
    testWindow.kind = kind;
    testWindow.skip = skip;
    testWindow.func = func;
    testWindow.pool = pool;
    testWindow.vol = vol;
    testWindow.passed = false;
}


/* Whether the window was passed; the other's own is freed. */
static bool
testWindowClose(void)
{
    testWindow.kind = TEST_WINDOW_NONE;
    g_clear_pointer(&testWindow.temp, virStorageTPMTempFree);
    return testWindow.passed;
}


int
fcntl(int fd,
      int cmd,
      ...)
{
    va_list args;
    void *arg;

    va_start(args, cmd);
    arg = va_arg(args, void *);
    va_end(args);

    if (cmd == F_OFD_SETLK)
        testWindowPass(TEST_WINDOW_BEFORE_LOCK);

    return syscall(SYS_fcntl, fd, cmd, arg);
}


int
renameat2(int fromdir,
          const char *from,
          int todir,
          const char *to,
          unsigned int flags)
{
    testWindowPass(TEST_WINDOW_BEFORE_RENAME_NEW);
    return syscall(SYS_renameat2, fromdir, from, todir, to, flags);
}


int
unlink(const char *path)
{
    int rc = syscall(SYS_unlinkat, AT_FDCWD, path, 0);

    testWindowPass(TEST_WINDOW_AFTER_UNLINK);
    return rc;
}


int
fsync(int fd)
{
    struct stat sb;

    if (testNoSyncDir && fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode)) {
        errno = EIO;
        return -1;
    }

    return syscall(SYS_fsync, fd);
}


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


/* Most tests get a pool. */
typedef struct _testPoolData testPoolData;
struct _testPoolData {
    int (*func)(virStoragePoolDef *pool, const char *arg);
    const char *arg;
};


static int
testPoolCall(virStoragePoolDef *pool,
             const void *opaque)
{
    const testPoolData *data = opaque;

    return data->func(pool, data->arg);
}


static int
testPool(const void *opaque)
{
    return testInPool(testPoolCall, opaque);
}


static void
testFile(const virStoragePoolDef *pool,
         const char *name,
         const char *text)
{
    g_autofree char *path = testPath(pool, name);

    if (virFileWriteStr(path, text, 0600) < 0)
        abort();
}


static int
testExpectText(const virStoragePoolDef *pool,
               const char *name,
               const char *expect)
{
    g_autofree char *path = testPath(pool, name);
    g_autofree char *text = NULL;

    if (virFileReadAll(path, TEST_FILE_MAX, &text) < 0)
        return -1;

    return virTestCompareToString(expect, text);
}


static int
testCompareNames(const void *a,
                 const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}


/* Everything in the pool's directory, sorted, is @expect. */
static int
testExpectFiles(const virStoragePoolDef *pool,
                const char *expect)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(DIR) dir = NULL;
    g_autofree char *list = NULL;
    struct dirent *ent;

    if (virDirOpen(&dir, pool->target.path) < 0)
        return -1;

    while (virDirRead(dir, &ent, NULL) > 0)
        g_ptr_array_add(names, g_strdup(ent->d_name));

    g_ptr_array_sort(names, testCompareNames);
    g_ptr_array_add(names, NULL);
    list = g_strjoinv(" ", (char **)names->pdata);

    return virTestCompareToString(expect, list);
}


/* Whether somebody holds the lock of the file. */
static bool
testIsLocked(const char *path)
{
    VIR_AUTOCLOSE fd = open(path, O_RDWR | O_CLOEXEC);

    return virOFDLockAcquire(fd) == -EAGAIN;
}


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


# define DO_NAME(name, fault) \
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
    DO_NAME("guests/guest1", "contain a slash, comma, backslash or control");
    DO_NAME("guest,1", "contain a slash, comma, backslash or control");
    DO_NAME("guest\\1", "contain a slash, comma, backslash or control");
    DO_NAME("guest\n1", "backslash or control character");
    DO_NAME("guest\t1", "backslash or control character");
    DO_NAME("guest\x7f", "backslash or control character");
    DO_NAME("guest1.tpm.xml", "end in '.tpm.xml'");

    if (virTestRun("longest name", testName, &longestData) < 0)
        ret = -1;
    if (virTestRun("name too long", testName, &tooLongData) < 0)
        ret = -1;

    return ret;
}


/* Temporaries. */

/* A volume of @pool, of which only names and path matter. */
static virStorageVolDef *
testVolNew(const virStoragePoolDef *pool,
           const char *name)
{
    virStorageVolDef *vol = g_new0(virStorageVolDef, 1);

    vol->name = g_strdup(name);
    vol->target.path = testPath(pool, name);
    return vol;
}


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


/* Writes @fixture to a temporary. */
static virStorageTPMTemp *
testTempWritten(virStoragePoolDef *pool,
                const char *fixture)
{
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNew(pool->target.path, "guest1", NULL);
    g_autoptr(virStorageTPMBytes) bytes = fixture ? testState(fixture) : NULL;

    if (!temp || virStorageTPMTempWrite(temp, bytes) < 0)
        abort();

    return g_steal_pointer(&temp);
}


static virStorageVolDef *
testSidecarRead(virStoragePoolDef *pool,
                const char *name)
{
    virStorageVolDef *def = NULL;

    if (virStorageTPMSidecarRead(pool, name, -1, &def) < 0)
        abort();

    return def;
}


/* A volume holds a state with its room, or nothing. */
static int
testExpectLaidOut(const virStoragePoolDef *pool,
                  const char *name,
                  const virStorageTPMBytes *bytes)
{
    g_autofree char *path = testPath(pool, name);
    g_autofree uint8_t *linear = NULL;
    g_autofree char *found = NULL;
    size_t len = 0;
    int got = virFileReadAll(path, 1024 * 1024, &found);

    if (bytes && !(linear = virTPMStateToLinear(bytes->data, bytes->len, &len)))
        return -1;

    if (got == len && (len == 0 || memcmp(found, linear, len) == 0))
        return 0;

    VIR_TEST_VERBOSE("'%s' has %d bytes, expected %zu", path, got, len);
    return -1;
}


/* @fixture as it stands in a volume; "" for a blank one. */
static int
testExpectState(const virStoragePoolDef *pool,
                const char *name,
                const char *fixture)
{
    g_autoptr(virStorageTPMBytes) bytes = *fixture ? testState(fixture) : NULL;

    return testExpectLaidOut(pool, name, bytes);
}


static void
testStateFile(const virStoragePoolDef *pool,
              const char *name,
              const char *fixture)
{
    g_autofree char *path = testPath(pool, name);
    g_autoptr(virStorageTPMBytes) bytes = testState(fixture);
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len)))
        abort();

    testWrite(path, linear);
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


static void
testSweepAll(const virStoragePoolDef *pool,
             const char *const *names)
{
    for (; *names; names++)
        virStorageTPMSweep(pool->target.path, *names);
}


/* Only a temporary goes that nobody holds, and only a regular file. */
static int
testSweep(virStoragePoolDef *pool,
          const char *arg G_GNUC_UNUSED)
{
    const char *const names[] = {
        ".guest1.aaaaaa.tmptpm", ".guest1.bbbbbb.tmptpm", ".dir.cccccc.tmptpm",
        ".link.dddddd.tmptpm", ".fifo.eeeeee.tmptpm", ".guest1.ffffff", ".hidden",
        ".guest1.tpm.xml", "guest1", "guest1.gggggg.tmptpm", "guest1.tpm.xml",
        ".backup.tmptpm", ".missing.hhhhhh.tmptpm", NULL
    };
    g_autofree char *held = testPath(pool, names[1]);
    g_autofree char *dir = testPath(pool, names[2]);
    g_autofree char *link = testPath(pool, names[3]);
    g_autofree char *fifo = testPath(pool, names[4]);
    VIR_AUTOCLOSE lock = -1;
    size_t i;

    testFile(pool, names[0], "");
    testFile(pool, names[1], "");
    for (i = 5; i < 12; i++)
        testFile(pool, names[i], "");

    if ((lock = open(held, O_RDWR | O_CLOEXEC)) < 0 ||
        virOFDLockAcquire(lock) < 0 ||
        mkdir(dir, 0700) < 0 ||
        symlink("guest1", link) < 0 ||
        mkfifo(fifo, 0600) < 0)
        return -1;

    testSweepAll(pool, names);

    return testExpectFiles(pool,
                           ".backup.tmptpm .dir.cccccc.tmptpm .fifo.eeeeee.tmptpm .guest1.bbbbbb.tmptpm"
                           " .guest1.ffffff .guest1.tpm.xml .hidden .link.dddddd.tmptpm"
                           " guest1 guest1.gggggg.tmptpm guest1.tpm.xml");
}


/* A temporary that is published before a sweep has locked it, or renamed, is a
 * volume, and no leftover. */
static char *testSweptPath;

static void
testWindowPublish(void)
{
    if (virStorageTPMTempPublish(testWindow.temp, testWindow.vol->target.path) < 0)
        abort();
    g_clear_pointer(&testWindow.temp, virStorageTPMTempFree);
}


/* The host believes that the name is there still. */
static void
testWindowRename(void)
{
    if (rename(testSweptPath, testWindow.vol->target.path) < 0)
        abort();
}


static int
testSweepPublished(virStoragePoolDef *pool,
                   const char *arg)
{
    g_autofree char *path = testPath(pool, "guest1");
    const virStorageVolDef vol = {
        .name = (char *)"guest1",
        .target = { .path = path },
    };
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *swept = g_strdup(temp->path);
    g_autofree char *name = g_path_get_basename(swept);

    if (STREQ(arg, "lock")) {
        testWindowOpen(TEST_WINDOW_BEFORE_LOCK, 0, testWindowPublish, pool, &vol);
        testWindow.temp = g_steal_pointer(&temp);
    } else {
        virStorageTPMTempKeep(temp);
        g_clear_pointer(&temp, virStorageTPMTempFree);
        testSweptPath = swept;
        testWindowOpen(TEST_WINDOW_BEFORE_RENAME_NEW, 0, testWindowRename, pool, &vol);
    }

    virStorageTPMSweep(pool->target.path, name);

    if (!testWindowClose() || testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectState(pool, "guest1", "tpm2");
}


/* The name of a volume that was sought for is free: another host makes one. */
static void
testWindowPlace(void)
{
    testWindow.temp = virStorageTPMSidecarPlace(testWindow.pool, testWindow.vol);
}


static int
testRemove(virStoragePoolDef *pool,
           const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");

    testFile(pool, "guest1", "state");
    testFile(pool, "guest1.tpm.xml", "sidecar");
    testFile(pool, "guest10", "another state");
    testFile(pool, "guest10.tpm.xml", "another sidecar");

    if (virStorageTPMSidecarRemove(pool, vol) < 0 ||
        testExpectFiles(pool, "guest10 guest10.tpm.xml") < 0)
        return -1;

    /* what is gone has no sidecar to be removed */
    if (virStorageTPMSidecarRemove(pool, vol) == 0)
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot remove volume '");
}


/* Who makes a volume of the same name meanwhile is refused, or keeps its sidecar. */
static int
testRemoveMeanwhile(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");

    vol->target.format = VIR_STORAGE_FILE_RAW;
    testFile(pool, "guest1", "state");
    testFile(pool, "guest1.tpm.xml", "sidecar");

    testWindowOpen(TEST_WINDOW_AFTER_UNLINK, 0, testWindowPlace, pool, vol);

    if (virStorageTPMSidecarRemove(pool, vol) < 0 || testWindow.temp ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0 ||
        testExpectFiles(pool, "") < 0)
        return -1;

    testWindowPlace();
    return testWindow.temp && testWindowClose() ? testExpectFiles(pool, "") : -1;
}


static int
testRemoveOrphan(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");

    testFile(pool, "guest1.tpm.xml", "sidecar");
    virStorageTPMSidecarRemoveOrphan(pool, vol);
    virStorageTPMSidecarRemoveOrphan(pool, vol);

    return testExpectFiles(pool, "");
}


static void
testWindowMake(void)
{
    testStateFile(testWindow.pool, "guest1", "tpm2");
}


/* It is none, or no longer. */
static int
testRemoveOrphanMeanwhile(virStoragePoolDef *pool,
                          const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");

    vol->target.format = VIR_STORAGE_FILE_RAW;
    testFile(pool, "guest1.tpm.xml", "sidecar");
    testWindowOpen(TEST_WINDOW_BEFORE_LOCK, 0,
                   STREQ(arg, "sidecar") ? testWindowPlace : testWindowMake, pool, vol);

    virStorageTPMSidecarRemoveOrphan(pool, vol);

    if (STREQ(arg, "sidecar")) {
        if (!testWindow.temp || testExpectFiles(pool, "guest1.tpm.xml") < 0)
            return -1;
        virStorageTPMTempKeep(testWindow.temp);
        return testWindowClose() ? 0 : -1;
    }

    return testWindowClose() ? testExpectFiles(pool, "guest1 guest1.tpm.xml") : -1;
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

    if ((fd = virOFDLockOpenFile(path, O_RDONLY, &sb)) < 0 || sb.st_size != 5)
        return -1;

    if (virOFDLockOpenFile(pool->target.path, O_RDONLY, &sb) >= 0 || errno != ENODEV)
        return -1;

    if (symlink("guest1", link) < 0 ||
        virOFDLockOpenFile(link, O_RDONLY, &sb) >= 0 || errno != ELOOP)
        return -1;

    return testExpectNoError();
}


/* What is written to files fails behind @size bytes. */
static void
testLimitFiles(rlim_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();

    limit.rlim_cur = size;
    signal(SIGXFSZ, SIG_IGN);

    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();
}


static void
testUnlimitFiles(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();

    testLimitFiles(limit.rlim_max);
}


/* State in memory. */

static int
testBytesRead(virStoragePoolDef *pool,
              const char *arg)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autofree char *path = testPath(pool, "guest1");
    VIR_AUTOCLOSE fd = -1;

    testFile(pool, "guest1", arg);

    if ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0 ||
        lseek(fd, 1, SEEK_SET) != 1)
        return -1;

    bytes = virStorageTPMBytesRead(fd, "guest1");
    return testExpectBytes(bytes, arg, strlen(arg));
}


static int
testBytesReadLarge(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) largest = NULL;
    g_autoptr(virStorageTPMBytes) larger = NULL;
    g_autofree char *path = testPath(pool, "guest1");
    VIR_AUTOCLOSE fd = -1;

    testFile(pool, "guest1", "");

    if ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0 ||
        ftruncate(fd, VIR_TPM_STATE_MAX_SIZE) < 0 ||
        !(largest = virStorageTPMBytesRead(fd, "guest1")) ||
        largest->len != VIR_TPM_STATE_MAX_SIZE)
        return -1;

    if (ftruncate(fd, VIR_TPM_STATE_MAX_SIZE + 1) < 0 ||
        (larger = virStorageTPMBytesRead(fd, "guest1")))
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID,
                           "'guest1' has 16777217 bytes, but TPM state has at most 16777216");
}


static int
testBytesReadNot(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autofree char *path = testPath(pool, "guest1");
    g_autofree char *fifo = testPath(pool, "fifo");
    VIR_AUTOCLOSE writeonly = -1;
    VIR_AUTOCLOSE pipe = -1;

    testFile(pool, "guest1", "state");

    if ((writeonly = open(path, O_WRONLY | O_CLOEXEC)) < 0 ||
        (bytes = virStorageTPMBytesRead(writeonly, "guest1")) ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot read 'guest1'") < 0)
        return -1;

    if (mkfifo(fifo, 0600) < 0 ||
        (pipe = open(fifo, O_RDWR | O_CLOEXEC)) < 0 ||
        (bytes = virStorageTPMBytesRead(pipe, "fifo")))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot read 'fifo'");
}


static int
testBytesToMemory(virStoragePoolDef *pool G_GNUC_UNUSED,
                  const char *arg)
{
    virStorageTPMBytes bytes = { (uint8_t *)arg, arg ? strlen(arg) : 0 };
    g_autoptr(virStorageTPMBytes) back = NULL;
    VIR_AUTOCLOSE fd = virStorageTPMBytesToMemory(arg ? &bytes : NULL);

    if (fd < 0 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
        return -1;

    back = virStorageTPMBytesRead(fd, "memory");
    if (testExpectBytes(back, bytes.data, bytes.len) < 0)
        return -1;

    return pwrite(fd, "more", 4, bytes.len) == 4 ? 0 : -1;
}


static int
testBytesToMemoryFull(virStoragePoolDef *pool G_GNUC_UNUSED,
                      const char *arg G_GNUC_UNUSED)
{
    virStorageTPMBytes bytes = { (uint8_t *)"state", 5 };
    VIR_AUTOCLOSE fd = -1;

    testLimitFiles(4);
    fd = virStorageTPMBytesToMemory(&bytes);
    testUnlimitFiles();

    if (fd >= 0)
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot allocate memory for the state of a TPM");
}


/* A volume of a directory. */
static const virStorageVolDef testFileVol = { .type = VIR_STORAGE_VOL_FILE };


/* Whatever a volume holds can be read while nobody else has it. */
static int
testSnapshotUnlocked(virStoragePoolDef *pool,
                     const char *arg)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autofree char *path = testPath(pool, "guest1");

    testFile(pool, "guest1", arg);

    bytes = virStorageTPMStoreFor(&testFileVol)->read(path, "tpmpool", "guest1");
    if (testExpectBytes(bytes, arg, strlen(arg)) < 0)
        return -1;

    return testIsLocked(path) ? -1 : 0;
}


static int
testSnapshotNot(virStoragePoolDef *pool,
                const char *arg)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autofree char *path = testPath(pool, "guest1");

    testFile(pool, "other", "state");

    if ((arg && symlink(arg, path) < 0) ||
        (bytes = virStorageTPMStoreFor(&testFileVol)->read(path, "tpmpool", "guest1")))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR,
                           "cannot open TPM volume 'guest1' of pool 'tpmpool'");
}


/* After a while, another process overwrites the volume with all of @state but
 * its first @skip bytes. */
static pid_t
testOverwriteLater(const char *path,
                   const virStorageTPMBytes *state,
                   size_t skip)
{
    pid_t child = virFork();
    int fd;

    if (child != 0)
        return child;

    g_usleep(300 * 1000);

    if ((fd = open(path, O_WRONLY | O_CLOEXEC)) < 0 ||
        safewrite(fd, state->data + skip, state->len - skip) < 0)
        _exit(EXIT_FAILURE);

    _exit(EXIT_SUCCESS);
}


typedef struct _testSnapshotData testSnapshotData;
struct _testSnapshotData {
    size_t before;  /* how many bytes of a state the volume has at first */
    bool whole;     /* whether it is whole later */
    size_t skip;    /* how many bytes it lacks then */
};


/* Of a volume that somebody else has. */
static int
testSnapshotLocked(virStoragePoolDef *pool,
                   const testSnapshotData *data)
{
    g_autoptr(virStorageTPMBytes) state = testState("tpm2");
    const virStorageTPMBytes before = { state->data, data->before };
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    g_autofree char *path = testPath(pool, "guest1");
    VIR_AUTOCLOSE lock = -1;
    pid_t child;

    testWrite(path, &before);

    if ((lock = virStorageVolTPMOpen(path, "tpmpool", "guest1")) < 0 ||
        (child = testOverwriteLater(path, state, data->skip)) < 0)
        return -1;

    bytes = virStorageTPMStoreFor(&testFileVol)->read(path, "tpmpool", "guest1");
    waitpid(child, NULL, 0);

    if (data->whole)
        return testExpectBytes(bytes, state->data, state->len);

    if (bytes)
        return -1;

    return testExpectError(VIR_ERR_RESOURCE_BUSY,
                           "TPM volume 'guest1' of pool 'tpmpool' is in use, and no consistent copy");
}


static int
testSnapshotWhole(virStoragePoolDef *pool,
                  const char *arg G_GNUC_UNUSED)
{
    const testSnapshotData data = { 2240, true, 0 };
    gint64 begin = g_get_monotonic_time();

    if (testSnapshotLocked(pool, &data) < 0)
        return -1;

    return g_get_monotonic_time() - begin < 4 * G_USEC_PER_SEC ? 0 : -1;
}


static int
testSnapshotCompleted(virStoragePoolDef *pool,
                      const char *arg G_GNUC_UNUSED)
{
    const testSnapshotData data = { 1000, true, 0 };

    return testSnapshotLocked(pool, &data);
}


/* Empty at first, damaged then. */
static int
testSnapshotDamaged(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    const testSnapshotData data = { 0, false, 1 };

    return testSnapshotLocked(pool, &data);
}


/* Volumes that get another content. */

static int
testTempReplace(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *path = testPath(pool, "guest1");

    testFile(pool, "guest1", "old");

    if (virStorageTPMTempReplace(temp, path) < 0 ||
        temp->path || !testIsLocked(path))
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectState(pool, "guest1", "tpm2");
}


static int
testTempReplaceNot(virStoragePoolDef *pool,
                   const char *arg)
{
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autofree char *path = testPath(pool, arg);
    g_autofree char *dir = testPath(pool, "dir");

    if (mkdir(dir, 0700) < 0 ||
        virStorageTPMTempReplace(temp, path) == 0 ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot rename '") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    return testExpectFiles(pool, "dir");
}


/* Both steps at once. */
static virStorageTPMTemp *
testReplaceFile(const virStoragePoolDef *pool,
                const virStorageVolDef *vol,
                int lock,
                const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempWriteNew(pool, vol, lock, bytes);

    if (!temp || virStorageTPMTempReplace(temp, vol->target.path) < 0)
        return NULL;

    return g_steal_pointer(&temp);
}


/* Owner and mode stay, also those that no new file has; the new file is locked
 * for as long as the caller wants. */
static int
testReplace(virStoragePoolDef *pool,
            const char *arg)
{
    g_autoptr(virStorageTPMBytes) bytes = arg ? testState(arg) : NULL;
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) now = NULL;
    bool root = geteuid() == 0;
    VIR_AUTOCLOSE lock = -1;
    struct stat before;
    struct stat after;

    testFile(pool, "guest1", "old");

    if (chmod(vol->target.path, 0641) < 0 ||
        (root && chown(vol->target.path, 1234, 2345) < 0) ||
        stat(vol->target.path, &before) < 0)
        return -1;

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        !(now = testReplaceFile(pool, vol, lock, bytes)) ||
        stat(vol->target.path, &after) < 0 ||
        !testIsLocked(vol->target.path))
        return -1;

    g_clear_pointer(&now, virStorageTPMTempFree);

    if (after.st_ino == before.st_ino || after.st_mode != before.st_mode ||
        after.st_uid != before.st_uid || after.st_gid != before.st_gid ||
        testIsLocked(vol->target.path) ||
        testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectLaidOut(pool, "guest1", bytes);
}


static int
testReplaceFull(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) now = NULL;
    VIR_AUTOCLOSE lock = -1;

    testFile(pool, "guest1", "old");

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0)
        return -1;

    testLimitFiles(4);
    now = testReplaceFile(pool, vol, lock, bytes);
    testUnlimitFiles();

    if (now ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot allocate 262336 bytes for '") < 0 ||
        testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectText(pool, "guest1", "old");
}


static int
testReplaceNot(virStoragePoolDef *pool,
               const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) now = NULL;
    VIR_AUTOCLOSE lock = -1;

    testFile(pool, "guest1", "old");

    if ((now = testReplaceFile(pool, vol, -1, NULL)) ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot stat '") < 0 ||
        testExpectText(pool, "guest1", "old") < 0)
        return -1;

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        virFileDeleteTree(pool->target.path) < 0 ||
        (now = testReplaceFile(pool, vol, lock, NULL)))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot create file '");
}


/* That the directory is not on the disk is no failure: what was renamed is. */
static int
testNoSync(virStoragePoolDef *pool,
           const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) temp = testTempWritten(pool, "tpm2");
    g_autoptr(virStorageTPMTemp) now = NULL;
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm12");
    VIR_AUTOCLOSE lock = -1;
    int rc = -1;

    vol->target.format = VIR_STORAGE_FILE_RAW;
    testNoSyncDir = true;

    if (virStorageTPMTempPublish(temp, vol->target.path) == 0 &&
        testExpectState(pool, "guest1", "tpm2") == 0 &&
        virStorageTPMSidecarReplace(pool, vol) == 0 &&
        (now = testReplaceFile(pool, vol, temp->fd, bytes)) &&
        testExpectState(pool, "guest1", "tpm12") == 0 &&
        testExpectFiles(pool, "guest1 guest1.tpm.xml") == 0 &&
        virStorageTPMSidecarRemove(pool, vol) == 0 &&
        testExpectFiles(pool, "") == 0)
        rc = testExpectNoError();

    testNoSyncDir = false;
    return rc;
}


/* Volumes that are overwritten. */

static virStorageTPMTemp *
testSetAside(virStoragePoolDef *pool,
             const virStorageVolDef *vol)
{
    VIR_AUTOCLOSE lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", vol->name);
    int opened = lock;
    virStorageTPMTemp *old = virStorageTPMTempSetAside(pool, vol, &lock);

    /* it is the same descriptor that holds the lock on */
    if (!old || lock != -1 || old->fd != opened || !testIsLocked(old->path))
        abort();

    return old;
}


/* Longer than what is written at a time, and no multiple of it. */
static int
testOverwrite(virStoragePoolDef *pool,
              const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autofree char *text = g_strnfill(2500, 'x');
    g_autofree char *zeros = g_new0(char, 2500);
    g_autoptr(virStorageTPMTemp) old = NULL;
    g_autoptr(virStorageTPMBytes) alone = NULL;

    testFile(pool, "guest1", text);
    old = testSetAside(pool, vol);

    /* all of it, wherever it was read last */
    if (unlink(vol->target.path) < 0 ||
        lseek(old->fd, 100, SEEK_SET) != 100 ||
        virStorageTPMTempOverwrite(old->fd) < 0)
        return -1;

    alone = virStorageTPMBytesRead(old->fd, "old");
    if (testExpectBytes(alone, zeros, 2500) < 0)
        return -1;

    g_clear_pointer(&old, virStorageTPMTempFree);
    return testExpectFiles(pool, "");
}


static int
testOverwriteNot(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1");
    VIR_AUTOCLOSE fd = -1;

    testFile(pool, "guest1", "state");

    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 ||
        virStorageTPMTempOverwrite(fd) == 0 || errno != EBADF ||
        virStorageTPMTempOverwrite(-1) == 0)
        return -1;

    return testExpectNoError();
}


static int
testSetAsideNot(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) old = NULL;
    VIR_AUTOCLOSE lock = -1;

    testFile(pool, "guest1", "state");

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        unlink(vol->target.path) < 0 ||
        (old = virStorageTPMTempSetAside(pool, vol, &lock)) || lock < 0 ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot give '") < 0 ||
        testExpectFiles(pool, "") < 0)
        return -1;

    if (virFileDeleteTree(pool->target.path) < 0 ||
        (old = virStorageTPMTempSetAside(pool, vol, &lock)) || lock < 0)
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot give '");
}


/* Another file than the one that is locked is not set aside. */
static int
testSetAsideOther(virStoragePoolDef *pool,
                  const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) old = NULL;
    VIR_AUTOCLOSE lock = -1;

    testFile(pool, "guest1", "state");

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        unlink(vol->target.path) < 0)
        return -1;
    testFile(pool, "guest1", "another");

    if ((old = virStorageTPMTempSetAside(pool, vol, &lock)) || lock < 0 ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot give '") < 0 ||
        testExpectFiles(pool, "guest1") < 0)
        return -1;

    return testExpectText(pool, "guest1", "another");
}


static bool
testIsZero(const virStorageTPMBytes *bytes)
{
    return bytes->len > 0 && bytes->data[0] == 0 &&
        memcmp(bytes->data, bytes->data + 1, bytes->len - 1) == 0;
}


/* What a temporary held of a TPM is gone, and whatever was set aside, unless it has
 * another name; what nobody recognises is only removed. */
static int
testSweepOverwrites(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    const char *const names[] = {
        ".guest1.aaaaaa.tmptpm", ".guest1.bbbbbb.tmptpm", ".guest1.cccccc.tmptpm",
        ".guest1.dddddd.oldtpm", NULL
    };
    const bool gone[] = { true, false, false, true };
    g_autofree char *linked = testPath(pool, names[1]);
    g_autofree char *path = testPath(pool, "guest1");
    int fds[4] = { -1, -1, -1, -1 };
    size_t i;
    int rc = -1;

    testStateFile(pool, names[0], "tpm2");
    testStateFile(pool, names[1], "tpm2");
    testFile(pool, names[2], "foreign");
    testFile(pool, names[3], "foreign");

    for (i = 0; i < 4; i++) {
        g_autofree char *name = testPath(pool, names[i]);

        fds[i] = open(name, O_RDONLY | O_CLOEXEC);
    }

    if (link(linked, path) == 0) {
        testSweepAll(pool, names);
        rc = testExpectFiles(pool, "guest1");
    }

    for (i = 0; i < 4; i++) {
        g_autoptr(virStorageTPMBytes) bytes = virStorageTPMBytesRead(fds[i], names[i]);

        if (!bytes || testIsZero(bytes) != gone[i])
            rc = -1;
        VIR_FORCE_CLOSE(fds[i]);
    }

    return rc;
}


/* What cannot be overwritten is kept and named, until it can. */
static int
testSweepOld(virStoragePoolDef *pool,
             const char *arg G_GNUC_UNUSED)
{
    const char *name = ".guest1.aaaaaa.oldtpm";
    int rc;

    testFile(pool, name, "secret");
    testFile(pool, ".guest2.aaaaaa.oldtpm", "another");

    testLimitFiles(0);
    virStorageTPMSweep(pool->target.path, name);
    rc = virStorageTPMSweepOld(pool, "guest1");
    testUnlimitFiles();

    if (rc == 0 ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "/.guest1.aaaaaa.oldtpm'") < 0 ||
        testExpectText(pool, name, "secret") < 0 ||
        testExpectFiles(pool, ".guest1.aaaaaa.oldtpm .guest2.aaaaaa.oldtpm") < 0)
        return -1;

    if (virStorageTPMSweepOld(pool, "guest1") < 0)
        return -1;

    return testExpectFiles(pool, ".guest2.aaaaaa.oldtpm");
}


/* Sidecars. */

static virStorageVolDef *
testVol(virStoragePoolDef *pool,
        const char *name)
{
    g_autofree char *file = g_strdup_printf("%s/storagetpmdata/%s.xml",
                                            abs_srcdir, name);
    virStorageVolDef *vol = virStorageVolDefParse(pool, NULL, file, 0);

    if (!vol)
        abort();

    return vol;
}


/* Its text is as expected, and so is what is read from it. */
static int
testSidecar(virStoragePoolDef *pool,
            const char *arg)
{
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/%s-written.xml",
                                              abs_srcdir, arg);
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autoptr(virStorageVolDef) vol = testVol(pool, arg);
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;
    g_autofree char *written = NULL;
    g_autofree char *again = NULL;
    struct stat sb;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");
    testFile(pool, "guest1.tpm.xml", "an orphan");

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectFiles(pool, "guest1.tpm.xml") < 0 ||
        stat(path, &sb) < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &written) < 0 ||
        virTestCompareToFile(written, expect) < 0)
        return -1;

    if ((sb.st_mode & 07777) != 0600 ||
        strstr(written, pool->target.path) || strstr(written, "<path>"))
        return -1;

    if (!(back = testSidecarRead(pool, "guest1")) ||
        !(again = virStorageVolDefFormat(pool, back)))
        return -1;

    return virTestCompareToString(written, again);
}


/* A directory that changes hands loses no identities. */
static int
testSidecarOwner(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;

    if (geteuid() != 0)
        return EXIT_AM_SKIP;

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        chown(pool->target.path, 1234, 2345) < 0 ||
        !(back = testSidecarRead(pool, "guest1")))
        return -1;

    return 0;
}


/* Not while there is a volume, nor while another one is made. */
static int
testSidecarNameUsed(virStoragePoolDef *pool,
                    const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) first = NULL;
    g_autoptr(virStorageTPMTemp) second = NULL;
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");

    if (!(first = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    if (STREQ(arg, "volume")) {
        testFile(pool, "guest1", "state");
        virStorageTPMTempKeep(first);
        g_clear_pointer(&first, virStorageTPMTempFree);
    }

    if (virFileReadAll(path, SIDECAR_MAX, &before) < 0 ||
        (second = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &after) < 0)
        return -1;

    return virTestCompareToString(before, after);
}


/* It goes again if the volume does not come. */
static int
testSidecarWithdrawn(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    g_clear_pointer(&sidecar, virStorageTPMTempFree);
    return testExpectFiles(pool, "");
}


/* Between a look at an orphan and its lock another host has put its own sidecar
 * in the orphan's place, and is about to publish its volume. */
static int
testSidecarMeanwhile(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) other = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");
    other->target.format = VIR_STORAGE_FILE_RAW;
    testFile(pool, "guest1.tpm.xml", "an orphan");

    /* after the lock of the temporary */
    testWindowOpen(TEST_WINDOW_BEFORE_LOCK, 1, testWindowPlace, pool, other);

    if ((sidecar = virStorageTPMSidecarPlace(pool, vol)) || !testWindow.temp ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0)
        return -1;

    virStorageTPMTempKeep(testWindow.temp);
    if (!testWindowClose() || testExpectFiles(pool, "guest1.tpm.xml") < 0)
        return -1;

    /* the other's has no TPM */
    back = testSidecarRead(pool, "guest1");
    return back && !back->tpm ? 0 : -1;
}


/* Whether a description of this capacity is read, and how many the sidecar has then. */
static bool
testSidecarTells(virStoragePoolDef *pool,
                 unsigned long long capacity,
                 int descriptions)
{
    g_autoptr(virStorageVolDef) def = testSidecarRead(pool, "guest1");
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autofree char *text = NULL;

    if (virFileReadAll(path, 64 * 1024, &text) < 0)
        abort();

    return def && def->target.capacity == capacity &&
        (strstr(text, "<replacement ") ? 2 : 1) == descriptions;
}


/* An announced description holds from the moment on at which the volume is replaced, and
 * the former is dropped. Until that can be done nobody gets the volume: a guest might
 * write to it. */
static int
testSidecarAnnounced(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) next = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) busy = NULL;
    g_autoptr(virStorageTPMTemp) temp = NULL;

    vol->target.format = next->target.format = VIR_STORAGE_FILE_RAW;
    vol->target.capacity = 1000;
    next->target.capacity = 2000;
    testStateFile(pool, "guest1", "tpm12");
    temp = testTempWritten(pool, "tpm2");

    if (virStorageTPMSidecarAnnounce(pool, vol, next, temp) < 0 ||
        !testSidecarTells(pool, 1000, 2) ||
        virStorageTPMTempReplace(temp, vol->target.path) < 0 ||
        virStorageTPMSidecarRead(pool, "guest1", -1, &busy) == 0 ||
        testExpectError(VIR_ERR_RESOURCE_BUSY, "'guest1' of pool 'tpmpool' is being replaced") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (!testSidecarTells(pool, 2000, 1))
        return -1;

    testStateFile(pool, "guest1", "tpm12");
    return testSidecarTells(pool, 2000, 1) ? 0 : -1;
}


static void
testWindowAdd(void)
{
    testFile(testWindow.pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>");
}


/* For whole state that has none, and never in place of one. */
static int
testSidecarAdd(virStoragePoolDef *pool,
               const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) first = NULL;
    g_autoptr(virStorageVolDef) second = NULL;
    VIR_AUTOCLOSE lock = -1;

    testStateFile(pool, "guest1", "tpm12");

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        testExpectFiles(pool, "guest1") < 0)
        return -1;
    VIR_FORCE_CLOSE(lock);

    if (arg)
        testWindowOpen(TEST_WINDOW_BEFORE_RENAME_NEW, 0, testWindowAdd, pool, vol);

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0 ||
        testExpectNoError() < 0)
        return -1;

    if (arg)
        return testWindowClose() ?
            testExpectText(pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>") : -1;

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        !(first = testSidecarRead(pool, "guest1")) ||
        !first->tpm->hasuuid || first->tpm->version != VIR_DOMAIN_TPM_VERSION_1_2 ||
        virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        !(second = testSidecarRead(pool, "guest1")))
        return -1;

    return memcmp(first->tpm->uuid, second->tpm->uuid, VIR_UUID_BUFLEN);
}


static int
testSidecarAddNot(virStoragePoolDef *pool,
                  const char *arg)
{
    testFile(pool, "guest1", arg);

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        virStorageTPMScanAddSidecar(pool, "missing") < 0 ||
        testExpectNoError() < 0)
        return -1;

    return testExpectFiles(pool, "guest1");
}


/* In place of the one of the same volume. */
static int
testSidecarReplace(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/sidecar-uuid-written.xml",
                                              abs_srcdir);
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autofree char *written = NULL;

    testFile(pool, "guest1", "state");
    testFile(pool, "guest1.tpm.xml", "old");

    if (virStorageTPMSidecarReplace(pool, vol) < 0 ||
        testIsLocked(path) ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &written) < 0 ||
        virTestCompareToFile(written, expect) < 0)
        return -1;

    g_free(vol->tpm->profile.source);
    vol->tpm->profile.source = g_strnfill(SIDECAR_MAX, 'x');

    if (virStorageTPMSidecarReplace(pool, vol) == 0 ||
        testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "at most 65536") < 0 ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0)
        return -1;

    return testExpectText(pool, "guest1.tpm.xml", written);
}


static int
testSidecarTooLarge(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    g_free(vol->tpm->profile.source);
    vol->tpm->profile.source = g_strnfill(SIDECAR_MAX, 'x');

    if ((sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectFiles(pool, "") < 0)
        return -1;

    return testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "at most 65536");
}


static int
testSidecarNoDirectory(virStoragePoolDef *pool,
                       const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (virFileDeleteTree(pool->target.path) < 0 ||
        (sidecar = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot create file '");
}


/* Good text up to @size bytes. */
static void
testSidecarPad(const virStoragePoolDef *pool,
               size_t size)
{
    const char *text = "<volume><name>guest1</name></volume>";
    g_autofree char *fill = g_strnfill(size - strlen(text), '\n');
    g_autofree char *padded = g_strdup_printf("%s%s", text, fill);

    testFile(pool, "guest1.tpm.xml", padded);
}


static int
testSidecarRefused(virStoragePoolDef *pool)
{
    g_autoptr(virStorageVolDef) back = testSidecarRead(pool, "guest1");

    if (back) {
        VIR_TEST_VERBOSE("a sidecar was taken that must not be");
        return -1;
    }

    return testExpectNoError();
}


static int
testSidecarSize(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) back = NULL;

    testSidecarPad(pool, SIDECAR_MAX);
    if (!(back = testSidecarRead(pool, "guest1")))
        return -1;

    testSidecarPad(pool, SIDECAR_MAX + 1);
    return testSidecarRefused(pool);
}


static int
testSidecarText(virStoragePoolDef *pool,
                const char *arg)
{
    if (arg)
        testFile(pool, "guest1.tpm.xml", arg);

    return testSidecarRefused(pool);
}


static int
testSidecarLink(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    testFile(pool, "good", "<volume><name>guest1</name></volume>");

    if (symlink("good", path) < 0)
        return -1;

    return testSidecarRefused(pool);
}


/* Nobody ever opens its other end. */
static int
testSidecarFifo(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    if (mkfifo(path, 0600) < 0)
        return -1;

    return testSidecarRefused(pool);
}


static int
testSidecarForeign(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    if (geteuid() != 0)
        return EXIT_AM_SKIP;

    testFile(pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>");

    if (chown(path, 1234, -1) < 0)
        return -1;

    return testSidecarRefused(pool);
}


# define DO_POOL_ARG(name, func, arg) \
    do { \
        const testPoolData data = { func, arg }; \
        if (virTestRun(name, testPool, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_POOL(name, func) DO_POOL_ARG(name, func, NULL)

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
    DO_POOL("sweep", testSweep);
    DO_POOL("sweep overwrites", testSweepOverwrites);
    DO_POOL_ARG("sweep, published before it is locked", testSweepPublished, "lock");
# ifdef WITH_RENAMEAT2
    DO_POOL_ARG("sweep, published after it was looked at", testSweepPublished, "rename");
# endif
    DO_POOL("sweep what was set aside", testSweepOld);
    DO_POOL("remove", testRemove);
    DO_POOL("remove while another is made", testRemoveMeanwhile);
    DO_POOL("remove an orphan sidecar", testRemoveOrphan);
    DO_POOL_ARG("remove an orphan sidecar that is replaced", testRemoveOrphanMeanwhile, "sidecar");
    DO_POOL_ARG("remove an orphan sidecar that gets a volume", testRemoveOrphanMeanwhile, "volume");
    DO_POOL("without a sync of the directory", testNoSync);
    DO_POOL("open", testOpen);

    return ret;
}


static int
testContents(void)
{
    int ret = 0;

    DO_POOL_ARG("read", testBytesRead, "some state");
    DO_POOL_ARG("read nothing", testBytesRead, "");
    DO_POOL("read 16 MiB, and one byte more", testBytesReadLarge);
    DO_POOL("read what cannot be read", testBytesReadNot);
    DO_POOL_ARG("memory", testBytesToMemory, "some state");
    DO_POOL("memory of nothing", testBytesToMemory);
    DO_POOL("memory that is full", testBytesToMemoryFull);

    DO_POOL_ARG("snapshot", testSnapshotUnlocked, "no state");
    DO_POOL_ARG("snapshot of nothing", testSnapshotUnlocked, "");
    DO_POOL("snapshot of a missing volume", testSnapshotNot);
    DO_POOL_ARG("snapshot of a link", testSnapshotNot, "other");
    DO_POOL("snapshot in use", testSnapshotWhole);
    DO_POOL("snapshot in use, whole after a while", testSnapshotCompleted);
    DO_POOL("snapshot in use, damaged", testSnapshotDamaged);

    DO_POOL("temporary replaces a file", testTempReplace);
    DO_POOL_ARG("temporary cannot replace a directory", testTempReplaceNot, "dir");
    DO_POOL_ARG("temporary in no directory", testTempReplaceNot, "missing/guest1");
    DO_POOL_ARG("replace", testReplace, "tpm2");
    DO_POOL("replace by nothing", testReplace);
    DO_POOL("replace on a full disk", testReplaceFull);
    DO_POOL("replace what cannot be replaced", testReplaceNot);
    DO_POOL("overwrite", testOverwrite);
    DO_POOL("overwrite what cannot be overwritten", testOverwriteNot);
    DO_POOL("set aside what is not there", testSetAsideNot);
    DO_POOL("set aside what was replaced", testSetAsideOther);

    return ret;
}


static int
testSidecars(void)
{
    int ret = 0;

    DO_POOL_ARG("sidecar with secret by uuid", testSidecar, "sidecar-uuid");
    DO_POOL_ARG("sidecar with secret by usage", testSidecar, "sidecar-usage");
    DO_POOL("sidecar in a directory that changes hands", testSidecarOwner);
    DO_POOL_ARG("sidecar of a volume that is there", testSidecarNameUsed, "volume");
    DO_POOL_ARG("sidecar of a volume that is made", testSidecarNameUsed, "sidecar");
    DO_POOL("sidecar without its volume", testSidecarWithdrawn);
    DO_POOL("sidecar in place of an orphan that is replaced", testSidecarMeanwhile);
    DO_POOL("sidecar in place of another", testSidecarReplace);
    DO_POOL("sidecar with two descriptions", testSidecarAnnounced);
    DO_POOL("sidecar added", testSidecarAdd);
# ifdef WITH_RENAMEAT2
    DO_POOL_ARG("sidecar added by another host", testSidecarAdd, "other");
# endif
    DO_POOL_ARG("no sidecar for a blank volume", testSidecarAddNot, "");
    DO_POOL_ARG("no sidecar for foreign content", testSidecarAddNot, "foreign");
    DO_POOL("sidecar that is too large", testSidecarTooLarge);
    DO_POOL("sidecar without a directory", testSidecarNoDirectory);
    DO_POOL("sidecar of 64 KiB, and one byte more", testSidecarSize);
    DO_POOL("sidecar missing", testSidecarText);
    DO_POOL_ARG("sidecar empty", testSidecarText, "");
    DO_POOL_ARG("sidecar of line ends", testSidecarText, "\n\n");
    DO_POOL_ARG("sidecar cut short", testSidecarText, "<volume><name>guest1</na");
    DO_POOL_ARG("sidecar with another root", testSidecarText,
                "<pool type='tpm'><name>guest1</name></pool>");
    DO_POOL_ARG("sidecar with a bad uuid", testSidecarText,
                "<volume><name>guest1</name><tpm><uuid>1</uuid></tpm></volume>");
    DO_POOL("sidecar is a link", testSidecarLink);
    DO_POOL("sidecar is a pipe", testSidecarFifo);
    DO_POOL("sidecar of another owner", testSidecarForeign);

    return ret;
}


static int
testExpectEndorsement(const virStorageVolTPMEndorsement *endorsement,
                      const char *key,
                      const char *fingerprint)
{
    g_autofree char *pem = g_strdup_printf("%s/storagetpmdata/ek-%s.pem",
                                           abs_srcdir, key);

    if (virTestCompareToString(key, endorsement->key) < 0 ||
        virTestCompareToString(fingerprint, endorsement->fingerprint) < 0)
        return -1;

    return virTestCompareToFile(endorsement->certificate, pem);
}


/* What is remembered of the source of a copy. */

static int
testExpectSame(const virStorageVolTPMDef *a,
               const virStorageVolTPMDef *b)
{
    g_auto(virBuffer) abuf = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) bbuf = VIR_BUFFER_INITIALIZER;

    virStorageVolTPMDefFormat(&abuf, a);
    virStorageVolTPMDefFormat(&bbuf, b);

    return virTestCompareToString(virBufferCurrentContent(&abuf),
                                  virBufferCurrentContent(&bbuf));
}


/* All that stands in XML, and none of it shared. */
static int
testDescriptionCopy(virStoragePoolDef *pool,
                    const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, arg);
    g_autoptr(virStorageVolDef) again = testVol(pool, arg);
    g_autoptr(virStorageVolTPMDef) copy = NULL;

    vol->tpm->manufacture = again->tpm->manufacture = VIR_TRISTATE_BOOL_NO;
    vol->tpm->identity = again->tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_NEW;
    virStorageVolTPMDefSetSource(vol->tpm, "other", again);

    copy = virStorageVolTPMDefCopy(vol->tpm);
    g_clear_pointer(&vol->tpm, virStorageVolTPMDefFree);

    if (copy->source)
        return -1;

    return testExpectSame(again->tpm, copy);
}


static int
testDescriptionSource(virStoragePoolDef *pool,
                      const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolTPMDef) tpm = g_new0(virStorageVolTPMDef, 1);
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) again = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) bare = testVolNew(pool, "guest1");
    const virStorageEncryption *encryption;

    virStorageVolTPMDefSetSource(tpm, "bare", bare);
    if (STRNEQ(tpm->source->pool, "bare") || !tpm->source->tpm ||
        tpm->source->tpm->nendorsements != 0 || tpm->source->encryption)
        return -1;

    virStorageVolTPMDefSetSource(tpm, "tpmpool", vol);
    g_clear_pointer(&vol, virStorageVolDefFree);

    encryption = tpm->source->encryption;
    if (STRNEQ(tpm->source->pool, "tpmpool") ||
        !encryption || encryption->nsecrets != 1 ||
        memcmp(encryption->secrets[0]->seclookupdef.u.uuid,
               again->target.encryption->secrets[0]->seclookupdef.u.uuid,
               VIR_UUID_BUFLEN) != 0)
        return -1;

    return testExpectSame(again->tpm, tpm->source->tpm);
}


static int
testDescriptions(void)
{
    int ret = 0;

    DO_POOL_ARG("copy of a description", testDescriptionCopy, "sidecar-uuid");
    DO_POOL_ARG("copy of a short description", testDescriptionCopy, "sidecar-usage");
    DO_POOL("description of a source", testDescriptionSource);

    return ret;
}


/* Endorsement keys. */

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


# define DO_IS_OF(name, is, has, cut, ...) \
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


# define DO_ARGS(args, vol, caps) \
    do { \
        const testArgsData data = { vol, args, caps, TEST_SECRET_GOOD, 0, NULL }; \
        if (virTestRun("swtpm_setup for " args, testArgs, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_ARGS_ERROR(name, vol, caps, secret, code, error) \
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


# define DO_BANKS(name, output, asked, learned) \
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
    bytes = virStorageTPMManufacture(pool->target.path, pool, vol);
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
    bytes = virStorageTPMManufacture(pool->target.path, pool, vol);
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
    virStorageTPMScratchSweep(pool->target.path);

    return testExpectFiles(pool, "other.abcdef tpmpool.guest1.secret.abcdef");
}


# define DO_SETUP(name, ...) \
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

    if (testNames() < 0)
        ret = -1;
    if (testFiles() < 0)
        ret = -1;
    if (testContents() < 0)
        ret = -1;
    if (testSidecars() < 0)
        ret = -1;
    if (testDescriptions() < 0)
        ret = -1;
    if (testKeys() < 0)
        ret = -1;
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

#else /* ! F_OFD_SETLK */

int
main(void)
{
    return EXIT_AM_SKIP;
}

#endif /* ! F_OFD_SETLK */
