/*
 * storagetpmsweeptest.c: what is removed from a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Leftovers are swept, volumes and orphan sidecars are removed, and others do
 * something to the pool meanwhile.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"
#include "testutilsstoragetpmwindow.h"

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_sidecar.h"
#include "storage/storage_tpm_store.h"
#include "storage/storage_tpm_sweep.h"
#include "storage/storage_tpm_temp.h"
#include "virfile.h"
#include "virofdlock.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


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


static int
testRemove(virStoragePoolDef *pool,
           const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");

    testFile(pool, "guest1", "state");
    testFile(pool, "guest1.tpm.xml", "sidecar");
    testFile(pool, "guest10", "another state");
    testFile(pool, "guest10.tpm.xml", "another sidecar");

    if (virStorageTPMStoreUnlink(pool, vol) < 0 ||
        testExpectFiles(pool, "guest10 guest10.tpm.xml") < 0)
        return -1;

    /* what is gone has no sidecar to be removed */
    if (virStorageTPMStoreUnlink(pool, vol) == 0)
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

    if (virStorageTPMStoreUnlink(pool, vol) < 0 || testWindow.temp ||
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
testSweeps(void)
{
    int ret = 0;

    DO_POOL("sweep", testSweep);
    DO_POOL("sweep overwrites", testSweepOverwrites);
    DO_POOL_ARG("sweep, published before it is locked", testSweepPublished, "lock");
#ifdef WITH_RENAMEAT2
    DO_POOL_ARG("sweep, published after it was looked at", testSweepPublished, "rename");
#endif
    DO_POOL("sweep what was set aside", testSweepOld);
    DO_POOL("remove", testRemove);
    DO_POOL("remove while another is made", testRemoveMeanwhile);
    DO_POOL("remove an orphan sidecar", testRemoveOrphan);
    DO_POOL_ARG("remove an orphan sidecar that is replaced", testRemoveOrphanMeanwhile, "sidecar");
    DO_POOL_ARG("remove an orphan sidecar that gets a volume", testRemoveOrphanMeanwhile, "volume");

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testSweeps() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
