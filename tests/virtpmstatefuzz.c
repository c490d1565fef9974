/*
 * virtpmstatefuzz.c: recognise TPM state in arbitrary bytes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any bytes may stand in a volume: they are recognised as the same twice, whether they are
 * in a file or in memory, and laying them out loses nothing.
 */

#include <config.h>

#include <sys/mman.h>
#include <unistd.h>

#include "testfuzz.h"

#include "virendian.h"
#include "virfile.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_TPM

/* Written down once more, so as not to trust what is under test. */
#define LINEAR_MAGIC "nilmptws"
#define LINEAR_PERMANENT 12
#define BLOB_MAGIC "\x02\x01\x00\x0a"
#define BLOB_HEADER 10
#define BLOB_ENCRYPTED 0x01

/* Where the descriptor stands when the probe begins. */
#define OFFSET 1

static int testFd = -1;


static bool
testHasPrefix(const uint8_t *data,
              size_t len,
              const char *magic)
{
    size_t want = strlen(magic);

    return len >= want && memcmp(data, magic, want) == 0;
}


static bool
testIsZero(const uint8_t *data,
           size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (data[i] != 0)
            return false;
    }

    return true;
}


static virTPMState
testProbe(const uint8_t *data,
          size_t len)
{
    virTPMState state = { 0 };

    if (ftruncate(testFd, 0) < 0 ||
        lseek(testFd, 0, SEEK_SET) != 0 ||
        safewrite(testFd, data, len) != len ||
        lseek(testFd, OFFSET, SEEK_SET) != OFFSET)
        abort();

    REQUIRE(virTPMStateProbe(testFd, "anonymous file", &state) == 0);
    REQUIRE(lseek(testFd, 0, SEEK_CUR) == OFFSET);

    return state;
}


static void
testCheckSame(const virTPMState *a,
              const virTPMState *b)
{
    REQUIRE(a->kind == b->kind);
    REQUIRE(a->version == b->version);
    REQUIRE(a->encrypted == b->encrypted);
    REQUIRE(a->shortkey == b->shortkey);
    REQUIRE(a->mendable == b->mendable);
}


/* @data is a blob and nothing else, and @state says so. */
static void
testCheckBlob(const uint8_t *data,
              size_t len,
              const virTPMState *state)
{
    uint16_t flags;

    REQUIRE(len > BLOB_HEADER);
    REQUIRE(memcmp(data, BLOB_MAGIC, 4) == 0);
    REQUIRE(virReadBufInt32BE(data + 6) == len);

    flags = virReadBufInt16BE(data + 4);
    REQUIRE(state->encrypted == ((flags & BLOB_ENCRYPTED) != 0));

    if (state->encrypted)
        REQUIRE(state->version == VIR_TPM_STATE_VERSION_UNKNOWN);
}


/* The blob that a linear file holds is the same TPM in a file of its own, and
 * the file may be longer than its sections. */
static void
testCheckLinear(const uint8_t *data,
                size_t len,
                const virTPMState *state)
{
    g_autofree uint8_t *longer = g_malloc0(len + 1);
    uint64_t offset;
    uint64_t size;
    virTPMState other;

    REQUIRE(testHasPrefix(data, len, LINEAR_MAGIC));
    REQUIRE(len >= LINEAR_PERMANENT + 8);

    offset = virReadBufInt32LE(data + LINEAR_PERMANENT);
    size = virReadBufInt32LE(data + LINEAR_PERMANENT + 4);
    REQUIRE(offset + size <= len);

    testCheckBlob(data + offset, size, state);

    other = testProbe(data + offset, size);
    REQUIRE(other.kind == VIR_TPM_STATE_BLOB);
    other.kind = VIR_TPM_STATE_LINEAR;
    testCheckSame(state, &other);

    memcpy(longer, data, len);
    other = testProbe(longer, len + 1);
    testCheckSame(state, &other);
}


static void
testCheck(const uint8_t *data,
          size_t len,
          const virTPMState *state)
{
    switch (state->kind) {
    case VIR_TPM_STATE_BLANK:
        REQUIRE(testHasPrefix(data, len, LINEAR_MAGIC) || testIsZero(data, len));
        break;
    case VIR_TPM_STATE_LINEAR:
        testCheckLinear(data, len, state);
        return;
    case VIR_TPM_STATE_DAMAGED:
        REQUIRE(testHasPrefix(data, len, LINEAR_MAGIC) ||
                (len >= BLOB_HEADER && memcmp(data, BLOB_MAGIC, 4) == 0));
        if (state->mendable)
            return;
        break;
    case VIR_TPM_STATE_BLOB:
        testCheckBlob(data, len, state);
        return;
    case VIR_TPM_STATE_QCOW2:
        REQUIRE(testHasPrefix(data, len, "QFI\xfb"));
        break;
    case VIR_TPM_STATE_LUKS:
        REQUIRE(testHasPrefix(data, len, "LUKS\xba\xbe"));
        break;
    case VIR_TPM_STATE_UNKNOWN:
        REQUIRE(!testIsZero(data, len) || len > VIR_TPM_STATE_MAX_SIZE);
        REQUIRE(!testHasPrefix(data, len, LINEAR_MAGIC) || len > VIR_TPM_STATE_MAX_BLOB);
        break;
    case VIR_TPM_STATE_LAST:
    default:
        REQUIRE(!"a kind that there is");
    }

    REQUIRE(state->version == VIR_TPM_STATE_VERSION_UNKNOWN);
    REQUIRE(!state->encrypted);
}


/* What becomes a linear file is the same TPM in one, with nothing behind it. */
static void
testCheckToLinear(const uint8_t *data,
                  size_t len,
                  const virTPMState *state)
{
    size_t linearLen;
    size_t again;
    g_autofree uint8_t *linear = virTPMStateToLinear(data, len, &linearLen);
    g_autofree uint8_t *twice = NULL;
    virTPMState other;

    if (!linear) {
        REQUIRE(state->kind != VIR_TPM_STATE_LINEAR && !state->mendable);
        REQUIRE(state->kind != VIR_TPM_STATE_BLOB || !state->encrypted);
        return;
    }

    virTPMStateProbeBytes(linear, linearLen, &other);
    REQUIRE(other.kind == VIR_TPM_STATE_LINEAR);
    REQUIRE(other.version == state->version);
    REQUIRE(other.encrypted == state->encrypted);

    twice = virTPMStateToLinear(linear, linearLen, &again);
    REQUIRE(again == linearLen && memcmp(twice, linear, again) == 0);
}


int
LLVMFuzzerInitialize(int *argc G_GNUC_UNUSED,
                     char ***argv G_GNUC_UNUSED)
{
    testFuzzQuiet();

    if ((testFd = memfd_create("tpm", MFD_CLOEXEC)) < 0)
        abort();

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data,
                       size_t len)
{
    virTPMState state = testProbe(data, len);
    virTPMState again = testProbe(data, len);
    virTPMState bytes;

    virTPMStateProbeBytes(data, len, &bytes);

    REQUIRE(state.version >= 0 && state.version < VIR_TPM_STATE_VERSION_LAST);
    testCheckSame(&state, &again);
    testCheckSame(&state, &bytes);
    testCheck(data, len, &state);
    testCheckToLinear(data, len, &state);

    return 0;
}
