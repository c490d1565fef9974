/*
 * testutilstpmstate.h: shared code of the tests of TPM state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The fixtures in virtpmstatedata, changes of them, and what they look like: state that
 * swtpm has made, clear and encrypted, of both versions.
 */

#pragma once

#include "virtpmstate.h"

/* The fixtures in virtpmstatedata are as swtpm_setup 0.7.1 wrote them, but for
 * base64. Volatile state was added by swtpm_ioctl -v. tpm2-newer was made by
 * swtpm_setup 0.10.2 with the profile default-v1, of libtpms 0.10.2. */

typedef struct _testEdit testEdit;
struct _testEdit {
    size_t offset;
    const char *bytes;
    size_t len;
};

#define EDIT(offset, bytes) { offset, bytes, sizeof(bytes) - 1 }

/* Where things are in the fixtures. */
#define LINEAR_VERSION 8
#define LINEAR_HDRSIZE 10
#define SECTION_OFFSET(n) (12 + 12 * (n))
#define SECTION_DATA(n) (16 + 12 * (n))
#define SECTION_LENGTH(n) (20 + 12 * (n))
#define BLOB_HEADER 192
#define BLOB_FLAGS (BLOB_HEADER + 4)
#define BLOB_TOTLEN (BLOB_HEADER + 6)
#define TLV_TAG (BLOB_HEADER + 10)
#define TLV_LENGTH (BLOB_HEADER + 12)
#define PAYLOAD (BLOB_HEADER + 16)

/* the header's entry of the permanent state */
#define LOST "\0\0\0\0\0\0\0\0\0\0\0\0"

/**
 * testLoad:
 * @fixture: virtpmstatedata/FIXTURE.base64
 *
 * Returns the state. Ends the test program if it cannot be read.
 */
GByteArray *testLoad(const char *fixture)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testResize:
 * @file: content of a file
 * @size: how many bytes it is to have
 *
 * Cuts it, or pads it with zeros.
 */
void testResize(GByteArray *file,
                size_t size)
    ATTRIBUTE_NONNULL(1);

/**
 * testKeepBlob:
 * @file: a fixture
 *
 * Leaves only the blob of the permanent state.
 */
void testKeepBlob(GByteArray *file)
    ATTRIBUTE_NONNULL(1);

/**
 * testExpectProbe:
 * @expect: how content is expected to look
 * @actual: how it looks
 *
 * Returns 0 if that is the same, -1 otherwise.
 */
int testExpectProbe(const virTPMState *expect,
                    const virTPMState *actual)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * testExactCopy:
 * @bytes: some bytes
 * @len: how many
 *
 * Returns a copy that ends where its memory ends: what is read behind it is noticed by
 * AddressSanitizer.
 */
uint8_t *testExactCopy(const uint8_t *bytes,
                       size_t len)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * testProbeBytes:
 * @bytes: some bytes
 * @len: how many
 * @state: set to how they look
 *
 * Looks at a file that holds them, and at them in memory.
 *
 * Returns 0 if both look the same, -1 otherwise.
 */
int testProbeBytes(const guint8 *bytes,
                   size_t len,
                   virTPMState *state)
    ATTRIBUTE_NONNULL(3);
