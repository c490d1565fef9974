/*
 * testutilsstoragetpmwindow.h: what others do meanwhile to a tpm storage pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Functions of the C library are replaced: before or after what they do, another host,
 * or whoever puts files into the pool by hand, gets its turn once.
 */

#pragma once

#include "storage/storage_tpm_temp.h"
#include "storage_conf.h"

typedef enum {
    TEST_WINDOW_NONE,
    TEST_WINDOW_BEFORE_LOCK,
    TEST_WINDOW_BEFORE_RENAME_NEW,
    TEST_WINDOW_AFTER_UNLINK,
} testWindowKind;

typedef struct _testWindowState testWindowState;
struct _testWindowState {
    testWindowKind kind;
    size_t skip;
    void (*func)(void);
    virStoragePoolDef *pool;
    const virStorageVolDef *vol;
    virStorageTPMTemp *temp; /* the other's own */
    bool passed;
};

/* The window that is open, for the functions that testWindowOpen() is given. */
extern testWindowState testWindow;

/**
 * testWindowOpen:
 * @kind: which window
 * @skip: how often it is passed before
 * @func: what the other does then, once
 * @pool: the pool, which @func finds in testWindow
 * @vol: a volume, likewise
 */
void testWindowOpen(testWindowKind kind,
                    size_t skip,
                    void (*func)(void),
                    virStoragePoolDef *pool,
                    const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4) ATTRIBUTE_NONNULL(5);

/**
 * testWindowClose:
 *
 * Frees the other's own temporary.
 *
 * Returns whether the window was passed.
 */
bool testWindowClose(void)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * testWindowPlace:
 *
 * For testWindowOpen(): the name of a volume that was sought for is free, and another
 * host makes one. Its sidecar becomes the other's own temporary.
 */
void testWindowPlace(void);
