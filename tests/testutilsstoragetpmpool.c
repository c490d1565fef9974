/*
 * testutilsstoragetpmpool.c: shared code of the tests of files in tpm storage pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files in the directory of a pool: how a test makes them, and how it looks at what the
 * code under test has made of them.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"

#include "testutils.h"
#include "virfile.h"
#include "virofdlock.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static int
testPoolCall(virStoragePoolDef *pool,
             const void *opaque)
{
    const testPoolData *data = opaque;

    return data->func(pool, data->arg);
}


int
testPool(const void *opaque)
{
    return testInPool(testPoolCall, opaque);
}


void
testFile(const virStoragePoolDef *pool,
         const char *name,
         const char *text)
{
    g_autofree char *path = testPath(pool, name);

    if (virFileWriteStr(path, text, 0600) < 0)
        abort();
}


int
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


int
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


bool
testIsLocked(const char *path)
{
    VIR_AUTOCLOSE fd = open(path, O_RDWR | O_CLOEXEC);

    return virOFDLockAcquire(fd) == -EAGAIN;
}


virStorageVolDef *
testVolNew(const virStoragePoolDef *pool,
           const char *name)
{
    virStorageVolDef *vol = g_new0(virStorageVolDef, 1);

    vol->name = g_strdup(name);
    vol->target.path = testPath(pool, name);
    return vol;
}


virStorageVolDef *
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


virStorageTPMTemp *
testTempWritten(virStoragePoolDef *pool,
                const char *fixture)
{
    g_autoptr(virStorageTPMTemp) temp = virStorageTPMTempNew(pool->target.path, "guest1", NULL);
    g_autoptr(virStorageTPMBytes) bytes = fixture ? testState(fixture) : NULL;

    if (!temp || virStorageTPMTempWrite(temp, bytes) < 0)
        abort();

    return g_steal_pointer(&temp);
}


int
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


int
testExpectState(const virStoragePoolDef *pool,
                const char *name,
                const char *fixture)
{
    g_autoptr(virStorageTPMBytes) bytes = *fixture ? testState(fixture) : NULL;

    return testExpectLaidOut(pool, name, bytes);
}


void
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


void
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


void
testUnlimitFiles(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();

    testLimitFiles(limit.rlim_max);
}
