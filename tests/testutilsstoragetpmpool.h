/*
 * testutilsstoragetpmpool.h: shared code of the tests of files in tpm storage pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tests that get a pool of their own, the files that they put into it, and what is
 * expected to stand in it afterwards.
 */

#pragma once

#include <sys/resource.h>

#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_temp.h"
#include "storage_conf.h"

/* A test that gets a pool, and an argument or NULL. If it fails, @ret becomes -1. */
#define DO_POOL_ARG(name, func, arg) \
    do { \
        const testPoolData data = { func, arg }; \
        if (virTestRun(name, testPool, &data) < 0) \
            ret = -1; \
    } while (0)

#define DO_POOL(name, func) DO_POOL_ARG(name, func, NULL)

typedef struct _testPoolData testPoolData;
struct _testPoolData {
    int (*func)(virStoragePoolDef *pool, const char *arg);
    const char *arg;
};

/**
 * testPool:
 * @opaque: a test, testPoolData
 *
 * Runs the test with a pool, as testInPool() does.
 *
 * Returns what it returns, -1 if there can be no pool.
 */
int testPool(const void *opaque)
    ATTRIBUTE_NONNULL(1);

/**
 * testFile:
 * @pool: a pool
 * @name: name of a file
 * @text: what is to stand in it
 *
 * Makes a file in the pool's directory. Ends the test program if that fails.
 */
void testFile(const virStoragePoolDef *pool,
              const char *name,
              const char *text)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * testExpectText:
 * @pool: a pool
 * @name: name of a file
 * @expect: what it is expected to hold
 *
 * Returns 0 if it does, -1 otherwise.
 */
int testExpectText(const virStoragePoolDef *pool,
                   const char *name,
                   const char *expect)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * testExpectFiles:
 * @pool: a pool
 * @expect: names, sorted, with a space between them
 *
 * Returns 0 if these, and nothing else, are in the pool's directory, -1 otherwise.
 */
int testExpectFiles(const virStoragePoolDef *pool,
                    const char *expect)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * testIsLocked:
 * @path: a file
 *
 * Returns whether somebody holds the lock of the file.
 */
bool testIsLocked(const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * testVolNew:
 * @pool: a pool
 * @name: name of a volume
 *
 * Returns a volume of the pool, of which only names and path matter.
 */
virStorageVolDef *testVolNew(const virStoragePoolDef *pool,
                             const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testVol:
 * @pool: a pool
 * @name: storagetpmdata/NAME.xml
 *
 * Returns the volume that the file describes. Ends the test program if it cannot be
 * read.
 */
virStorageVolDef *testVol(virStoragePoolDef *pool,
                          const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testTempWritten:
 * @pool: a pool
 * @fixture: virtpmstatedata/FIXTURE.base64; NULL for a blank volume
 *
 * Returns a temporary of "guest1" to which the state was written. Ends the test
 * program if that fails.
 */
virStorageTPMTemp *testTempWritten(virStoragePoolDef *pool,
                                   const char *fixture)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testExpectLaidOut:
 * @pool: a pool
 * @name: name of a volume
 * @bytes: the state that it is expected to hold, with its room; NULL for nothing
 *
 * Returns 0 if it does, -1 otherwise.
 */
int testExpectLaidOut(const virStoragePoolDef *pool,
                      const char *name,
                      const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * testExpectState:
 * @pool: a pool
 * @name: name of a volume
 * @fixture: virtpmstatedata/FIXTURE.base64; "" for a blank volume
 *
 * Returns 0 if the volume holds that state with its room, -1 otherwise.
 */
int testExpectState(const virStoragePoolDef *pool,
                    const char *name,
                    const char *fixture)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * testStateFile:
 * @pool: a pool
 * @name: name of a file
 * @fixture: virtpmstatedata/FIXTURE.base64
 *
 * Makes a file that holds the state with its room. Ends the test program if that
 * fails.
 */
void testStateFile(const virStoragePoolDef *pool,
                   const char *name,
                   const char *fixture)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * testLimitFiles:
 * @size: how many bytes
 *
 * What is written to files fails behind so many bytes, until testUnlimitFiles() is
 * called. Ends the test program if that cannot be set.
 */
void testLimitFiles(rlim_t size);

/**
 * testUnlimitFiles:
 *
 * Files can be as long as the test program was allowed. Ends the program if that
 * cannot be set.
 */
void testUnlimitFiles(void);
