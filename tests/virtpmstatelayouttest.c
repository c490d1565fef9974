/*
 * virtpmstatelayouttest.c: lay out the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * State in any form that it is found in becomes a file with room for the permanent
 * state; a volume gets the same room in place.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilstpmstate.h"

#include "virendian.h"
#include "virfile.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"

#define VIR_FROM_THIS VIR_FROM_TPM

#ifdef F_OFD_SETLK


typedef struct _testLinearData testLinearData;
struct _testLinearData {
    const char *fixture;
    bool blob;               /* only the blob of the permanent state */
    size_t size;             /* padded with zeros to this, 0: not */
    const testEdit *edits;
    size_t nedits;
    bool good;               /* becomes the fixture with room, else nothing */
};


static void
testSetEntry(GByteArray *file,
             size_t n,
             uint32_t offset,
             uint32_t dataLength,
             uint32_t sectionLength)
{
    const uint32_t entry[] = {
        GUINT32_TO_LE(offset), GUINT32_TO_LE(dataLength), GUINT32_TO_LE(sectionLength),
    };

    memcpy(file->data + SECTION_OFFSET(n), entry, sizeof(entry));
}


/* What a fixture is to become: the permanent state at 192 in a section of 256
 * KiB, and nothing else. */
static GByteArray *
testWithRoom(const GByteArray *file)
{
    g_autoptr(GByteArray) room = g_byte_array_new();
    size_t offset = virReadBufInt32LE(file->data + SECTION_OFFSET(0));
    size_t len = virReadBufInt32LE(file->data + SECTION_DATA(0));

    g_byte_array_append(room, file->data, BLOB_HEADER);
    testResize(room, BLOB_HEADER + VIR_TPM_STATE_ROOM);
    testSetEntry(room, 0, BLOB_HEADER, len, VIR_TPM_STATE_ROOM);
    testSetEntry(room, 1, 0, 0, 0);
    memcpy(room->data + BLOB_HEADER, file->data + offset, len);

    return g_steal_pointer(&room);
}


static int
testExpectLinear(const uint8_t *data,
                 size_t len,
                 const GByteArray *expect)
{
    g_autofree uint8_t *exact = testExactCopy(data, len);
    g_autofree uint8_t *linear = NULL;
    size_t linearLen = 0;

    linear = virTPMStateToLinear(exact, len, &linearLen);

    if (virGetLastErrorCode() != VIR_ERR_OK || !linear != !expect) {
        VIR_TEST_VERBOSE("%s, error %s", linear ? "taken" : "not taken",
                         virGetLastErrorMessage());
        return -1;
    }

    if (!expect)
        return 0;

    if (linearLen != expect->len || memcmp(linear, expect->data, linearLen) != 0) {
        VIR_TEST_VERBOSE("got another file, of %zu bytes, expected %u",
                         linearLen, expect->len);
        return -1;
    }

    return 0;
}


static int
testToLinear(const void *opaque)
{
    const testLinearData *data = opaque;
    g_autoptr(GByteArray) file = testLoad(data->fixture);
    g_autoptr(GByteArray) expect = NULL;
    size_t i;

    for (i = 0; i < data->nedits; i++)
        memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
               data->edits[i].len);

    if (data->good)
        expect = testWithRoom(file);

    if (data->blob)
        testKeepBlob(file);

    if (data->size)
        testResize(file, data->size);

    if (testExpectLinear(file->data, file->len, expect) < 0)
        return -1;

    /* and stays so */
    return expect ? testExpectLinear(expect->data, expect->len, expect) : 0;
}


/* What a header without its entry has behind it. */
static int
testToLinearMended(const void *opaque)
{
    const testLinearData *data = opaque;
    g_autoptr(GByteArray) file = testLoad(data->fixture);
    g_autoptr(GByteArray) expect = testWithRoom(file);
    size_t i;

    for (i = 0; i < data->nedits; i++)
        memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
               data->edits[i].len);

    if (data->size)
        testResize(file, data->size);

    return testExpectLinear(file->data, file->len, expect);
}


/* A blob of more than 1 MiB of a kind that would be taken if it were shorter. */
static int
testToLinearLong(const void *opaque)
{
    const testLinearData *data = opaque;
    g_autoptr(GByteArray) file = testLoad("tpm2");
    size_t old;
    uint32_t be;
    virTPMState state;

    testKeepBlob(file);
    old = file->len;
    testResize(file, data->size);

    be = GUINT32_TO_BE((uint32_t)data->size);
    memcpy(file->data + 6, &be, sizeof(be));
    /* a TLV that nobody knows */
    be = GUINT32_TO_BE((uint32_t)(data->size - old - 6));
    memcpy(file->data + old, "\0\x63", 2);
    memcpy(file->data + old + 2, &be, sizeof(be));

    if (testProbeBytes(file->data, file->len, &state) < 0)
        return -1;

    if (data->good != (state.kind == VIR_TPM_STATE_BLOB) ||
        (!data->good && state.kind != VIR_TPM_STATE_UNKNOWN)) {
        VIR_TEST_VERBOSE("looks %s", virTPMStateKindTypeToString(state.kind));
        return -1;
    }

    if (data->good) {
        g_autofree uint8_t *linear = NULL;
        size_t len = 0;

        linear = virTPMStateToLinear(file->data, file->len, &len);
        return linear && len == BLOB_HEADER + VIR_TPM_STATE_MAX_BLOB ? 0 : -1;
    }

    return testExpectLinear(file->data, file->len, NULL);
}


/* What a file holds, without an error reported if it does not hold it. */
static GByteArray *
testReadFD(int fd)
{
    g_autoptr(GByteArray) file = g_byte_array_new();
    struct stat st;

    if (fstat(fd, &st) < 0)
        abort();

    testResize(file, st.st_size);
    if (pread(fd, file->data, file->len, 0) != file->len)
        abort();

    return g_steal_pointer(&file);
}


/* In place, a volume of before gets the same room. The old header still fits what
 * is there when the new one is about to be written. */
static int
testMakeRoom(const void *opaque)
{
    const testLinearData *data = opaque;
    g_autoptr(GByteArray) file = testLoad(data->fixture);
    g_autoptr(GByteArray) expect = NULL;
    g_autoptr(GByteArray) made = NULL;
    g_autoptr(GByteArray) again = NULL;
    VIR_AUTOCLOSE fd = -1;
    virTPMState state;
    struct stat st;
    uint64_t len;
    size_t i;

    for (i = 0; i < data->nedits; i++)
        memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
               data->edits[i].len);

    expect = testWithRoom(file);
    if (data->size)
        testResize(file, data->size);

    if ((fd = virCreateAnonymousFile(file->data, file->len)) < 0 ||
        virTPMStateMakeRoom(fd, &len) < 0)
        return -1;

    made = testReadFD(fd);
    if (virReadBufInt32LE(made->data + SECTION_LENGTH(0)) != VIR_TPM_STATE_ROOM ||
        virReadBufInt32LE(made->data + SECTION_OFFSET(1)) != 0 ||
        testExpectLinear(made->data, made->len, expect) < 0 ||
        virTPMStateProbe(fd, "made", &state) < 0 ||
        state.kind != VIR_TPM_STATE_LINEAR ||
        fstat(fd, &st) < 0 || st.st_blocks * 512 < BLOB_HEADER + VIR_TPM_STATE_ROOM)
        return -1;

    if (virTPMStateMakeRoom(fd, &len) < 0)
        return -1;

    again = testReadFD(fd);
    if (again->len != made->len || memcmp(again->data, made->data, made->len) != 0)
        return -1;

    memcpy(made->data, file->data, BLOB_HEADER);
    return testExpectLinear(made->data, made->len, expect);
}


/* A blank volume stays blank, and has the room before there is a state. */
static int
testMakeRoomBlank(const void *opaque)
{
    const testLinearData *data = opaque;
    g_autoptr(GByteArray) file = g_byte_array_new();
    VIR_AUTOCLOSE fd = -1;
    virTPMState state;
    struct stat st;
    uint64_t len;
    size_t i;

    testResize(file, data->size);
    for (i = 0; i < data->nedits; i++) {
        if (data->edits[i].len > 0)
            memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
                   data->edits[i].len);
    }

    if ((fd = virCreateAnonymousFile(file->data, file->len)) < 0 ||
        virTPMStateMakeRoom(fd, &len) < 0 ||
        virTPMStateProbe(fd, "made", &state) < 0 ||
        state.kind != VIR_TPM_STATE_BLANK || fstat(fd, &st) < 0)
        return -1;

    if (st.st_size < BLOB_HEADER + VIR_TPM_STATE_ROOM ||
        st.st_blocks * 512 < BLOB_HEADER + VIR_TPM_STATE_ROOM) {
        VIR_TEST_VERBOSE("%lld bytes", (long long)st.st_size);
        return -1;
    }

    return 0;
}


/* Where there is no room nothing changes. */
static int
testMakeRoomFails(const void *opaque G_GNUC_UNUSED)
{
    const struct rlimit limit = { 64 * 1024, RLIM_INFINITY };
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    g_autoptr(GByteArray) file = testLoad("tpm2");
    g_autoptr(GByteArray) left = NULL;
    VIR_AUTOCLOSE fd = virCreateAnonymousFile(file->data, file->len);
    uint64_t len = 0;
    int rc;

    signal(SIGXFSZ, SIG_IGN);
    if (fd < 0 || setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return -1;

    rc = virTPMStateMakeRoom(fd, &len);

    if (setrlimit(RLIMIT_FSIZE, &none) < 0 || rc != -EFBIG || len != BLOB_HEADER + VIR_TPM_STATE_ROOM)
        return -1;

    left = testReadFD(fd);
    return left->len == file->len && memcmp(left->data, file->data, left->len) == 0 ? 0 : -1;
}


/* A blob of volatile state is no TPM. */
static int
testToLinearVolatile(const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) file = testLoad("tpm12-volatile");
    size_t offset = virReadBufInt32LE(file->data + SECTION_OFFSET(1));
    size_t len = virReadBufInt32LE(file->data + SECTION_DATA(1));
    virTPMState state;

    if (testProbeBytes(file->data + offset, len, &state) < 0 ||
        state.kind != VIR_TPM_STATE_BLOB)
        return -1;

    return testExpectLinear(file->data + offset, len, NULL);
}


static int
testToLinearNothing(const void *opaque G_GNUC_UNUSED)
{
    return testExpectLinear(NULL, 0, NULL);
}


# define DO_LINEAR_WITH(name, func, fixture, blob, size, good, ...) \
    do { \
        const testEdit edits[] = { { 0, "", 0 }, __VA_ARGS__ }; \
        const testLinearData data = { \
            fixture, blob, size, edits, G_N_ELEMENTS(edits), good \
        }; \
        if (virTestRun("to linear: " name, func, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_LINEAR(name, fixture, blob, size, good, ...) \
    DO_LINEAR_WITH(name, testToLinear, fixture, blob, size, good, __VA_ARGS__)

# define DO_ROOM(name, func, fixture, size, ...) \
    DO_LINEAR_WITH("in place, " name, func, fixture, false, size, true, __VA_ARGS__)


static int
testToLinearAll(void)
{
    int ret = 0;

    DO_LINEAR("as it is", "tpm2", false, 0, true);
    DO_LINEAR("of a newer libtpms", "tpm2-newer", false, 0, true);
    DO_LINEAR("two sections", "tpm12-volatile", false, 0, true);
    DO_LINEAR("padded", "tpm2", false, 4 * 1024 * 1024, true);
    DO_LINEAR("padded by a byte", "tpm12", false, 2241, true);
    DO_LINEAR("padded, encrypted", "tpm2-encrypted", false, 4096, true);
    DO_LINEAR("padded, two sections", "tpm12-volatile", false, 8192, true);
    DO_LINEAR("padded, the first section last", "tpm12-volatile", false, 8192, true,
              EDIT(SECTION_OFFSET(0), "\xc0\x08\0\0\xdf\x04\0\0\0\x08\0\0\xc0\0\0\0\xa1\x04\0\0\0\x08\0\0"));
    DO_LINEAR("padded to the limit", "tpm2", false, VIR_TPM_STATE_MAX_SIZE, true);
    DO_LINEAR("padded beyond it", "tpm2", false, VIR_TPM_STATE_MAX_SIZE + 1, false);

    DO_LINEAR("blob", "tpm2", true, 0, true);
    DO_LINEAR("blob tpm12", "tpm12", true, 0, true);
    DO_LINEAR("blob encrypted", "tpm2-encrypted", true, 0, true);
    DO_LINEAR("blob tpm12 encrypted", "tpm12-encrypted", true, 0, true);
    DO_LINEAR("blob padded", "tpm2", true, 4096, false);
    DO_LINEAR("blob damaged", "tpm2", true, 0, false, EDIT(BLOB_TOTLEN, "\0\0\5\x22"));
    DO_LINEAR("blob of something else", "tpm2", true, 0, false, EDIT(PAYLOAD + 2, "\x12"));

    DO_LINEAR("blank", "tpm2", false, 0, false, EDIT(SECTION_OFFSET(0), LOST),
              EDIT(BLOB_HEADER, "\0\0\0\0"));
    DO_LINEAR("damaged", "tpm2", false, 0, false, EDIT(SECTION_DATA(0), "\x22\5\0\0"));
    DO_LINEAR("qcow2", "tpm2", false, 0, false, EDIT(0, "QFI\xfb"));
    DO_LINEAR("foreign", "tpm2", false, 0, false, EDIT(0, "somebody"));

    DO_LINEAR_WITH("entry lost", testToLinearMended, "tpm2", false, 0, true,
                   EDIT(SECTION_OFFSET(0), LOST));
    DO_LINEAR_WITH("entry lost, file grown", testToLinearMended, "tpm2", false, 8384, true,
                   EDIT(SECTION_OFFSET(0), LOST));
    DO_LINEAR_WITH("entry lost, encrypted", testToLinearMended, "tpm2-encrypted", false, 0, true,
                   EDIT(SECTION_OFFSET(0), LOST));
    DO_LINEAR_WITH("entry lost, two sections", testToLinearMended, "tpm12-volatile", false, 0, true,
                   EDIT(SECTION_OFFSET(0), LOST));
    DO_LINEAR_WITH("longest blob", testToLinearLong, NULL, true, VIR_TPM_STATE_MAX_BLOB, true,
                   { 0, "", 0 });
    DO_LINEAR_WITH("blob that is too long", testToLinearLong, NULL, true,
                   VIR_TPM_STATE_MAX_BLOB + 1, false, { 0, "", 0 });
    DO_LINEAR_WITH("blob of 9 MiB", testToLinearLong, NULL, true, 9 * 1024 * 1024, false,
                   { 0, "", 0 });

    if (virTestRun("to linear: blob of volatile state", testToLinearVolatile, NULL) < 0)
        ret = -1;
    if (virTestRun("to linear: nothing", testToLinearNothing, NULL) < 0)
        ret = -1;

    return ret;
}


static int
testMakeRoomAll(void)
{
    int ret = 0;

    DO_ROOM("tpm2", testMakeRoom, "tpm2", 0);
    DO_ROOM("encrypted", testMakeRoom, "tpm2-encrypted", 0);
    DO_ROOM("padded", testMakeRoom, "tpm2", 4 * 1024 * 1024);
    DO_ROOM("two sections", testMakeRoom, "tpm12-volatile", 0);
    DO_ROOM("two sections in the other order", testMakeRoom, "tpm12-volatile", 0,
            EDIT(SECTION_OFFSET(0), "\xc0\x08\0\0\xdf\x04\0\0\0\x08\0\0\xc0\0\0\0\xa1\x04\0\0\0\x08\0\0"));
    DO_ROOM("nothing", testMakeRoomBlank, NULL, 0);
    DO_ROOM("zeros", testMakeRoomBlank, NULL, 5000);
    DO_ROOM("volatile state only", testMakeRoomBlank, NULL, 4096,
            EDIT(0, "nilmptws\x01\0\xc0\0"),
            EDIT(SECTION_OFFSET(1), "\xc0\0\0\0\x10\0\0\0\0\x04\0\0"),
            EDIT(192, "\x02\x01\0\x0a\0\0\0\0\0\x10"));
    DO_ROOM("header only", testMakeRoomBlank, NULL, 192,
            EDIT(0, "nilmptws\x01\0\xc0\0"));

    if (virTestRun("to linear: in place, no room", testMakeRoomFails, NULL) < 0)
        ret = -1;

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testToLinearAll() < 0)
        ret = -1;
    if (testMakeRoomAll() < 0)
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
