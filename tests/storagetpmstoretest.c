/*
 * storagetpmstoretest.c: what volumes of a tpm storage pool hold
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content in memory and how it is read, also while it changes; how it is replaced by
 * another one, overwritten and set aside.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_sidecar.h"
#include "storage/storage_tpm_store.h"
#include "storage/storage_tpm_temp.h"
#include "storage_vol_tpm.h"
#include "virfile.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* fsync() of a directory fails. */
static bool testNoSyncDir;


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

    if (!arg)
        return testExpectError(VIR_ERR_NO_STORAGE_VOL,
                               "of TPM volume 'guest1' of pool 'tpmpool' not found");

    return testExpectError(VIR_ERR_OPERATION_INVALID,
                           "of TPM volume 'guest1' of pool 'tpmpool' is not a regular file");
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
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNewReplacement(pool, vol, lock, bytes);

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
        virStorageTPMStoreUnlink(pool, vol) == 0 &&
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
    DO_POOL("without a sync of the directory", testNoSync);

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testContents() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
