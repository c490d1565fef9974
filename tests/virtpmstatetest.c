/*
 * virtpmstatetest.c: recognise and lock the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testutils.h"

#ifdef F_OFD_SETLK

# include "storage_vol_tpm.h"
# include "vircommand.h"
# include "virendian.h"
# include "virofdlock.h"
# include "virtpmstate.h"
# include "virtpmstatelayout.h"

# define VIR_FROM_THIS VIR_FROM_TPM

/* In place of the C library's own. */

/* The file system is one that hides its locks. */
static bool testHiding;

/* How often descriptors of other files were looked at than of the one that is
 * locked. */
static ino_t testLocked;
static size_t testStrangers;


int
fstatfs(int fd,
        struct statfs *sb)
{
    int rc = syscall(SYS_fstatfs, fd, sb);

    if (rc == 0 && testHiding)
        sb->f_type = 0x65735546;

    return rc;
}


int
stat(const char *path,
     struct stat *sb)
{
    int rc = fstatat(AT_FDCWD, path, sb, 0);

    if (rc == 0 && STRPREFIX(path, "/proc/") && strstr(path, "/fd/") &&
        sb->st_ino != testLocked)
        testStrangers++;

    return rc;
}


/* The fixtures in virtpmstatedata are as swtpm_setup 0.7.1 wrote them, but for
 * base64. Volatile state was added by swtpm_ioctl -v. tpm2-newer was made by
 * swtpm_setup 0.10.2 with the profile default-v1, of libtpms 0.10.2. */

typedef struct _testEdit testEdit;
struct _testEdit {
    size_t offset;
    const char *bytes;
    size_t len;
};

# define EDIT(offset, bytes) { offset, bytes, sizeof(bytes) - 1 }

/* Where things are in the fixtures. */
# define LINEAR_VERSION 8
# define LINEAR_HDRSIZE 10
# define SECTION_OFFSET(n) (12 + 12 * (n))
# define SECTION_DATA(n) (16 + 12 * (n))
# define SECTION_LENGTH(n) (20 + 12 * (n))
# define BLOB_HEADER 192
# define BLOB_FLAGS (BLOB_HEADER + 4)
# define BLOB_TOTLEN (BLOB_HEADER + 6)
# define TLV_TAG (BLOB_HEADER + 10)
# define TLV_LENGTH (BLOB_HEADER + 12)
# define PAYLOAD (BLOB_HEADER + 16)

typedef struct _testProbeData testProbeData;
struct _testProbeData {
    const char *fixture;     /* NULL: begins with zeros */
    bool blob;               /* only the blob of the permanent state */
    size_t size;             /* cut or padded with zeros to this, 0: not */
    const testEdit *edits;
    size_t nedits;
    virTPMState expect;
};


static GByteArray *
testLoad(const char *fixture)
{
    g_autofree char *path = g_strdup_printf("%s/virtpmstatedata/%s.base64",
                                            abs_srcdir, fixture);
    g_autofree char *text = NULL;
    guchar *bytes = NULL;
    gsize len;

    if (virFileReadAll(path, 64 * 1024, &text) < 0)
        abort();

    bytes = g_base64_decode(text, &len);
    return g_byte_array_new_take(bytes, len);
}


static void
testResize(GByteArray *file,
           size_t size)
{
    size_t old = file->len;

    g_byte_array_set_size(file, size);
    if (size > old)
        memset(file->data + old, 0, size - old);
}


static void
testKeepBlob(GByteArray *file)
{
    size_t len = virReadBufInt32LE(file->data + SECTION_DATA(0));

    g_byte_array_remove_range(file, 0, BLOB_HEADER);
    g_byte_array_set_size(file, len);
}


static int
testExpectState(const virTPMState *expect,
                const virTPMState *actual)
{
    if (expect->kind == actual->kind &&
        expect->version == actual->version &&
        expect->encrypted == actual->encrypted &&
        expect->shortkey == actual->shortkey &&
        expect->mendable == actual->mendable)
        return 0;

    VIR_TEST_VERBOSE("expected %s, version %s, encrypted %d, short key %d, mendable %d; got %s, version %s, encrypted %d, short key %d, mendable %d",
                     virTPMStateKindTypeToString(expect->kind),
                     virTPMStateVersionTypeToString(expect->version),
                     expect->encrypted, expect->shortkey, expect->mendable,
                     virTPMStateKindTypeToString(actual->kind),
                     virTPMStateVersionTypeToString(actual->version),
                     actual->encrypted, actual->shortkey, actual->mendable);
    return -1;
}


/* A copy that ends where its memory ends: what is read behind it is noticed by
 * AddressSanitizer. */
static uint8_t *
testExactCopy(const uint8_t *bytes,
              size_t len)
{
    uint8_t *copy = g_new0(uint8_t, len);

    if (len > 0)
        memcpy(copy, bytes, len);

    return copy;
}


/* Of a file, and of its bytes in memory. */
static int
testProbeBytes(const guint8 *bytes,
               size_t len,
               virTPMState *state)
{
    VIR_AUTOCLOSE fd = virCreateAnonymousFile(bytes, len);
    g_autofree uint8_t *exact = testExactCopy(bytes, len);
    virTPMState again = { .kind = VIR_TPM_STATE_LAST };

    if (fd < 0 || lseek(fd, 1, SEEK_SET) != 1 ||
        virTPMStateProbe(fd, "anonymous file", state) < 0)
        return -1;

    if (lseek(fd, 0, SEEK_CUR) != 1) {
        VIR_TEST_VERBOSE("the probe moved the file offset");
        return -1;
    }

    virTPMStateProbeBytes(exact, len, &again);
    return testExpectState(state, &again);
}


static int
testProbe(const void *opaque)
{
    const testProbeData *data = opaque;
    g_autoptr(GByteArray) file = NULL;
    virTPMState state;
    size_t i;

    file = data->fixture ? testLoad(data->fixture) : g_byte_array_sized_new(1);

    if (data->blob)
        testKeepBlob(file);

    if (data->size || !data->fixture)
        testResize(file, data->size);

    for (i = 0; i < data->nedits; i++)
        memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
               data->edits[i].len);

    if (testProbeBytes(file->data, file->len, &state) < 0)
        return -1;

    return testExpectState(&data->expect, &state);
}


/* No cut of a good state may pass for a state, nor but for the empty one for
 * a blank volume. */
static int
testProbeCut(const void *opaque)
{
    const testProbeData *data = opaque;
    g_autoptr(GByteArray) file = testLoad(data->fixture);
    size_t magic = data->blob ? 10 : 8;
    size_t len;

    if (data->blob)
        testKeepBlob(file);

    for (len = 0; len < file->len; len++) {
        virTPMState expect = { .kind = VIR_TPM_STATE_DAMAGED };
        virTPMState state;

        if (len == 0)
            expect.kind = VIR_TPM_STATE_BLANK;
        else if (len < magic)
            expect.kind = VIR_TPM_STATE_UNKNOWN;

        if (testProbeBytes(file->data, len, &state) < 0 ||
            testExpectState(&expect, &state) < 0) {
            VIR_TEST_VERBOSE("cut to %zu bytes", len);
            return -1;
        }
    }

    return 0;
}


/* Random bytes, and good states with random bytes in their headers. */
static int
testProbeRandom(const void *opaque)
{
    const testProbeData *data = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(20);
    size_t i;

    for (i = 0; i < 5000; i++) {
        g_autoptr(GByteArray) file = testLoad("tpm12-volatile");
        size_t begin = data->fixture ? 8 : 0;
        size_t end = data->fixture ? PAYLOAD : file->len;
        virTPMState state;
        size_t j;

        for (j = begin; j < end; j++) {
            if (!data->fixture || g_rand_int_range(rand, 0, 16) == 0)
                file->data[j] = g_rand_int(rand);
        }

        if (testProbeBytes(file->data, file->len, &state) < 0)
            return -1;

        if (!data->fixture && state.kind != VIR_TPM_STATE_UNKNOWN)
            return testExpectState(&data->expect, &state);
    }

    return 0;
}


/* 1 TiB of nothing must not be read. */
static int
testProbeSparse(const void *opaque G_GNUC_UNUSED)
{
    virTPMState expect = { .kind = VIR_TPM_STATE_UNKNOWN };
    VIR_AUTOCLOSE fd = virCreateAnonymousFile((const uint8_t *)"", 1);
    virTPMState state;

    if (fd < 0 || ftruncate(fd, 1LL << 40) < 0 ||
        virTPMStateProbe(fd, "sparse file", &state) < 0)
        return -1;

    return testExpectState(&expect, &state);
}


static int
testExpectError(int code,
                const char *part)
{
    g_autofree char *message = g_strdup(virGetLastErrorMessage());
    int actual = virGetLastErrorCode();

    virResetLastError();

    if (actual == code && strstr(message, part))
        return 0;

    VIR_TEST_VERBOSE("expected error %d with '%s', got %d: %s",
                     code, part, actual, message);
    return -1;
}


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
    size_t i;

    for (i = 0; i < data->nedits; i++)
        memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
               data->edits[i].len);

    expect = testWithRoom(file);
    if (data->size)
        testResize(file, data->size);

    if ((fd = virCreateAnonymousFile(file->data, file->len)) < 0 ||
        virStorageVolTPMMakeRoom(fd, "tpmpool", "guest1") < 0)
        return -1;

    made = testReadFD(fd);
    if (virReadBufInt32LE(made->data + SECTION_LENGTH(0)) != VIR_TPM_STATE_ROOM ||
        virReadBufInt32LE(made->data + SECTION_OFFSET(1)) != 0 ||
        testExpectLinear(made->data, made->len, expect) < 0 ||
        virTPMStateProbe(fd, "made", &state) < 0 ||
        state.kind != VIR_TPM_STATE_LINEAR ||
        fstat(fd, &st) < 0 || st.st_blocks * 512 < BLOB_HEADER + VIR_TPM_STATE_ROOM)
        return -1;

    if (virStorageVolTPMMakeRoom(fd, "tpmpool", "guest1") < 0)
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
    size_t i;

    testResize(file, data->size);
    for (i = 0; i < data->nedits; i++) {
        if (data->edits[i].len > 0)
            memcpy(file->data + data->edits[i].offset, data->edits[i].bytes,
                   data->edits[i].len);
    }

    if ((fd = virCreateAnonymousFile(file->data, file->len)) < 0 ||
        virStorageVolTPMMakeRoom(fd, "tpmpool", "guest1") < 0 ||
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
    g_autofree char *expect = g_strdup_printf("cannot allocate 262336 bytes for TPM volume 'guest1' of pool 'tpmpool': %s",
                                              g_strerror(EFBIG));
    g_autoptr(GByteArray) file = testLoad("tpm2");
    g_autoptr(GByteArray) left = NULL;
    VIR_AUTOCLOSE fd = virCreateAnonymousFile(file->data, file->len);
    int rc;

    signal(SIGXFSZ, SIG_IGN);
    if (fd < 0 || setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return -1;

    rc = virStorageVolTPMMakeRoom(fd, "tpmpool", "guest1");

    if (setrlimit(RLIMIT_FSIZE, &none) < 0 || rc == 0)
        return -1;

    left = testReadFD(fd);
    if (left->len != file->len || memcmp(left->data, file->data, left->len) != 0)
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, expect);
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


static int
testProbeUnreadable(const void *opaque G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE fd = open(abs_srcdir, O_RDONLY | O_CLOEXEC);
    g_autofree char *expect = g_strdup_printf("cannot read TPM state from 'somewhere': %s",
                                              g_strerror(EISDIR));
    virTPMState state = { .kind = VIR_TPM_STATE_LAST };

    if (virTPMStateProbe(fd, "somewhere", &state) == 0 ||
        state.kind != VIR_TPM_STATE_LAST)
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, expect);
}


typedef struct _testCheckData testCheckData;
struct _testCheckData {
    virTPMStateKind kind;
    const char *message; /* after the volume's name; NULL: passes */
};


static int
testCheck(const void *opaque)
{
    const testCheckData *data = opaque;
    virTPMState state = { .kind = data->kind };
    g_autofree char *expect = NULL;
    int rc = virStorageVolTPMCheckState(&state, "tpmpool", "guest1");

    if (!data->message)
        return rc;

    if (rc == 0)
        return -1;

    expect = g_strdup_printf("TPM volume 'guest1' of pool 'tpmpool' %s",
                             data->message);
    return testExpectError(VIR_ERR_OPERATION_INVALID, expect);
}


static int
testCheckMendable(const void *opaque G_GNUC_UNUSED)
{
    virTPMState state = { .kind = VIR_TPM_STATE_DAMAGED, .mendable = true };

    if (virStorageVolTPMCheckState(&state, "tpmpool", "guest1") == 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID,
                           "TPM volume 'guest1' of pool 'tpmpool' is damaged, as its header");
}


static int
testCheckCipher(const void *opaque G_GNUC_UNUSED)
{
    virTPMState state = { .kind = VIR_TPM_STATE_LINEAR, .encrypted = true };

    if (virStorageVolTPMCheckCipher(&state, "here") < 0 ||
        virStorageVolTPMCheckSecret(&state, true, "/tpm/guest1", "tpmpool", "guest1") < 0)
        return -1;

    state.shortkey = true;
    if (virStorageVolTPMCheckSecret(&state, true, "/tpm/guest1", "tpmpool", "guest1") == 0)
        return -1;

    return testExpectError(VIR_ERR_CONFIG_UNSUPPORTED,
                           "'tpmpool/guest1' is encrypted with AES-128");
}


typedef struct _testCheckSecretData testCheckSecretData;
struct _testCheckSecretData {
    bool encrypted;
    bool secret;
    const char *message; /* NULL: passes */
};


static int
testCheckSecret(const void *opaque)
{
    const testCheckSecretData *data = opaque;
    const virTPMState state = {
        .kind = VIR_TPM_STATE_LINEAR,
        .encrypted = data->encrypted,
    };
    int rc = virStorageVolTPMCheckSecret(&state, data->secret, "/tpm/guest1",
                                         "tpmpool", "guest1");

    if (!data->message)
        return rc;

    return rc == 0 ? -1 : testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, data->message);
}


typedef struct _testReportData testReportData;
struct _testReportData {
    const char *log;
    int code;
    const char *message;
};


static int
testReport(const void *opaque)
{
    const testReportData *data = opaque;

    virReportError(VIR_ERR_INTERNAL_ERROR, "%s", "it has exited");
    virStorageVolTPMReportSwtpm(data->log, "tpmpool", "guest1");

    return testExpectError(data->code, data->message);
}


typedef struct _testLockData testLockData;
struct _testLockData {
    const char *dir;
    const char *path; /* of a good volume */
};


static int
testOpen(const char *path)
{
    return virStorageVolTPMOpen(path, "tpmpool", "guest1");
}


static int
testExpectBusy(const char *path,
               pid_t holder)
{
    g_autofree char *procfile = g_strdup_printf("/proc/%lld/comm", (long long)holder);
    g_autofree char *name = NULL;
    g_autofree char *expect = NULL;
    VIR_AUTOCLOSE fd = testOpen(path);

    if (fd >= 0) {
        VIR_TEST_VERBOSE("the volume was not locked");
        return -1;
    }

    if (virFileReadAll(procfile, 64, &name) < 0)
        return -1;

    virStringTrimOptionalNewline(name);
    expect = g_strdup_printf("TPM volume 'guest1' of pool 'tpmpool' is in use by process %lld (%s)",
                             (long long)holder, name);
    return testExpectError(VIR_ERR_RESOURCE_BUSY, expect);
}


static int
testLockTwice(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE first = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);
    VIR_AUTOCLOSE second = -1;

    if (first < 0 || other < 0)
        return -1;

    if (virOFDLockAcquire(other) != -EAGAIN ||
        testExpectBusy(data->path, getpid()) < 0)
        return -1;

    /* unlike a lock of the process, this one outlives the other descriptor */
    VIR_FORCE_CLOSE(other);
    if (testExpectBusy(data->path, getpid()) < 0)
        return -1;

    VIR_FORCE_CLOSE(first);
    if ((second = testOpen(data->path)) < 0)
        return -1;

    return fcntl(second, F_GETFD) & FD_CLOEXEC ? 0 : -1;
}


static int
testLockShared(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE first = open(data->path, O_RDONLY | O_CLOEXEC);
    VIR_AUTOCLOSE second = open(data->path, O_RDONLY | O_CLOEXEC);
    VIR_AUTOCLOSE writer = open(data->path, O_RDWR | O_CLOEXEC);

    if (virOFDLockAcquireShared(first) < 0 || virOFDLockAcquireShared(second) < 0)
        return -1;

    VIR_FORCE_CLOSE(first);
    if (virOFDLockAcquire(writer) != -EAGAIN ||
        testExpectBusy(data->path, getpid()) < 0)
        return -1;

    VIR_FORCE_CLOSE(second);
    if (virOFDLockAcquire(writer) < 0 ||
        (first = open(data->path, O_RDONLY | O_CLOEXEC)) < 0 ||
        virOFDLockAcquireShared(first) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(writer);
    return virOFDLockAcquireShared(first);
}


static int
testLockSharedNothing(const void *opaque G_GNUC_UNUSED)
{
    return virOFDLockAcquireShared(-1) == -EBADF ? 0 : -1;
}


/* The lock and the one that swtpm itself can take keep each other out. */
static int
testLockPOSIX(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE mine = testOpen(data->path);
    VIR_AUTOCLOSE other = open(data->path, O_RDWR | O_CLOEXEC);
    pid_t child;
    int rc;

    if (mine < 0 || other < 0 ||
        virFileLock(other, false, 0, 0, false) != -EAGAIN)
        return -1;

    VIR_FORCE_CLOSE(mine);

    if ((child = virFork()) < 0)
        return -1;

    if (child == 0) {
        if (virFileLock(other, false, 0, 0, false) < 0)
            _exit(EXIT_FAILURE);

        while (true)
            raise(SIGSTOP);
    }

    waitpid(child, NULL, WUNTRACED);
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    return rc;
}


static int
testLockInherited(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    VIR_AUTOCLOSE after = -1;
    pid_t child;
    int rc;

    if (fd < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        while (true)
            pause();
    }

    VIR_FORCE_CLOSE(fd);
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    if (rc < 0 || (after = testOpen(data->path)) < 0)
        return -1;

    return 0;
}


/* A file system that does not answer is asked about no descriptor: only those are
 * looked at that have a lock. The child has many others. */
static int
testLockStrangers(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    struct stat sb;
    pid_t child;
    int rc;

    if (fd < 0 || fstat(fd, &sb) < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        while (true)
            pause();
    }

    VIR_FORCE_CLOSE(fd);
    testLocked = sb.st_ino;
    testStrangers = 0;
    rc = testExpectBusy(data->path, child);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    if (testStrangers == 0)
        return rc;

    VIR_TEST_VERBOSE("looked at %zu descriptors of other files", testStrangers);
    return -1;
}


/* Where the locks of a file system are not shown, nobody is said to hold one. */
static int
testLockHidden(const void *opaque)
{
    const testLockData *data = opaque;
    VIR_AUTOCLOSE fd = testOpen(data->path);
    VIR_AUTOCLOSE other = -1;

    if (fd < 0)
        return -1;

    testHiding = true;
    other = testOpen(data->path);
    testHiding = false;

    if (other >= 0)
        return -1;

    return testExpectError(VIR_ERR_RESOURCE_BUSY,
                           "TPM volume 'guest1' of pool 'tpmpool' is in use by an unknown process");
}


/* What is replaced or removed before its lock is taken is not that file any more. */
static int
testLockAt(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/at", data->dir);
    VIR_AUTOCLOSE fd = -1;
    VIR_AUTOCLOSE second = -1;
    VIR_AUTOCLOSE reader = -1;

    if (virOFDLockOpen(path, 0, &fd) != -ENOENT ||
        virOFDLockOpen(path, VIR_OFD_LOCK_CREATE, &fd) < 0 ||
        virOFDLockOpen(path, VIR_OFD_LOCK_NO_WAIT, &second) != -EAGAIN ||
        (reader = open(path, O_RDONLY | O_CLOEXEC)) < 0 ||
        virOFDLockAcquireNamed(reader, path, true) != -EAGAIN)
        return -1;

    if (unlink(path) < 0 || virOFDLockAcquireNamed(fd, path, false) != -ESTALE ||
        virFileWriteStr(path, "another", 0600) < 0 ||
        virOFDLockAcquireNamed(fd, path, false) != -ESTALE)
        return -1;

    VIR_FORCE_CLOSE(fd);
    if (virOFDLockAcquireNamed(second, data->path, false) != -ESTALE ||
        virOFDLockAcquireNamed(reader, path, true) != -EAGAIN)
        return -1;

    return unlink(path);
}


/* Whether the lock is had while a child still keeps it for 25 ms, as long as a file
 * system in user space may take to release one. */
static int
testLockWhileKept(const char *path)
{
    VIR_AUTOCLOSE fd = testOpen(path);
    VIR_AUTOCLOSE after = -1;
    pid_t child;

    if (fd < 0 || (child = virFork()) < 0)
        return -1;

    if (child == 0) {
        g_usleep(25 * 1000);
        _exit(EXIT_SUCCESS);
    }

    VIR_FORCE_CLOSE(fd);
    after = testOpen(path);
    waitpid(child, NULL, 0);

    return after < 0 ? -1 : 0;
}


/* A lock that goes away at once does not make a start fail. On a busy machine
 * "at once" may be late. */
static int
testLockBrief(const void *opaque)
{
    const testLockData *data = opaque;
    size_t i;

    for (i = 0; i < 20; i++) {
        if (testLockWhileKept(data->path) == 0)
            return 0;
        virResetLastError();
    }

    return -1;
}


/* Replaces the volume again and again, each time under its lock, and without
 * the waits of virStorageVolTPMOpen(). */
static void G_NORETURN
testReplaceForever(const testLockData *data)
{
    g_autofree char *new = g_strdup_printf("%s/new", data->dir);

    while (true) {
        VIR_AUTOCLOSE fd = open(data->path, O_RDWR | O_CLOEXEC);

        if (fd < 0 || virFileWriteStr(new, "", 0600) < 0)
            _exit(EXIT_FAILURE);

        if (virOFDLockAcquire(fd) == 0 && rename(new, data->path) < 0)
            _exit(EXIT_FAILURE);
    }
}


/* Whoever has the lock has the file that the path names. */
static int
testLockReplaced(const void *opaque)
{
    const testLockData *data = opaque;
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC / 2;
    pid_t child = virFork();
    size_t opened = 0;
    size_t stale = 0;

    if (child < 0)
        return -1;

    if (child == 0)
        testReplaceForever(data);

    while (g_get_monotonic_time() < end) {
        VIR_AUTOCLOSE fd = testOpen(data->path);
        struct stat mine;
        struct stat named;

        virResetLastError();
        if (fd < 0)
            continue;

        opened++;
        if (fstat(fd, &mine) < 0 || stat(data->path, &named) < 0 ||
            mine.st_ino != named.st_ino)
            stale++;
    }

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    VIR_TEST_DEBUG("opened %zu, of them stale %zu", opened, stale);
    return opened > 0 && stale == 0 ? 0 : -1;
}


static int
testOpenMissing(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/missing", data->dir);

    if (testOpen(path) >= 0 || virFileExists(path))
        return -1;

    return testExpectError(VIR_ERR_NO_STORAGE_VOL,
                           "of TPM volume 'guest1' of pool 'tpmpool' not found");
}


static int
testExpectNotRegular(const char *path)
{
    g_autofree char *expect = g_strdup_printf("'%s' of TPM volume 'guest1' of pool 'tpmpool' is not a regular file",
                                              path);

    if (testOpen(path) >= 0)
        return -1;

    return testExpectError(VIR_ERR_OPERATION_INVALID, expect);
}


static int
testOpenNotRegular(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *link = g_strdup_printf("%s/link", data->dir);
    g_autofree char *fifo = g_strdup_printf("%s/fifo", data->dir);

    if (symlink(data->path, link) < 0 || mkfifo(fifo, 0600) < 0)
        return -1;

    if (testExpectNotRegular(link) < 0 ||
        testExpectNotRegular(fifo) < 0 ||
        testExpectNotRegular(data->dir) < 0 ||
        testExpectNotRegular("/dev/null") < 0)
        return -1;

    return 0;
}


static int
testOpenNoPermission(const void *opaque)
{
    const testLockData *data = opaque;
    g_autofree char *path = g_strdup_printf("%s/readonly", data->dir);
    g_autofree char *expect = NULL;

    /* nothing is forbidden to root */
    if (geteuid() == 0)
        return EXIT_AM_SKIP;

    if (virFileWriteStr(path, "", 0400) < 0 || testOpen(path) >= 0)
        return -1;

    expect = g_strdup_printf("no permission to read and write '%s' of TPM volume 'guest1' of pool 'tpmpool'",
                             path);
    return testExpectError(VIR_ERR_SYSTEM_ERROR, expect);
}


# define ENCRYPTED true
# define CLEAR false

# define DO_PROBE_FULL(name, func, fixture, blob, size, looks, is, secret, ...) \
    do { \
        const testEdit edits[] = { { 0, "", 0 }, __VA_ARGS__ }; \
        const testProbeData data = { \
            fixture, blob, size, edits, G_N_ELEMENTS(edits), \
            { .kind = VIR_TPM_STATE_ ## looks, \
              .version = VIR_TPM_STATE_VERSION_ ## is, \
              .encrypted = secret } \
        }; \
        if (virTestRun("probe: " name, func, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_PROBE(name, fixture, size, kind, version, encrypted, ...) \
    DO_PROBE_FULL(name, testProbe, fixture, false, size, kind, version, \
                  encrypted, __VA_ARGS__)

# define DO_PROBE_BLOB(name, fixture, size, kind, version, encrypted, ...) \
    DO_PROBE_FULL(name, testProbe, fixture, true, size, kind, version, \
                  encrypted, __VA_ARGS__)

/* one edit makes a good state a damaged one */
# define DO_DAMAGED(name, fixture, ...) \
    DO_PROBE("damaged, " name, fixture, 0, DAMAGED, UNKNOWN, CLEAR, __VA_ARGS__)

/* the header's entry of the permanent state */
# define LOST "\0\0\0\0\0\0\0\0\0\0\0\0"

# define DO_STATE(name, fixture, size, state, ...) \
    do { \
        const testEdit edits[] = { { 0, "", 0 }, __VA_ARGS__ }; \
        const testProbeData data = { \
            fixture, false, size, edits, G_N_ELEMENTS(edits), state \
        }; \
        if (virTestRun("probe: " name, testProbe, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_CUT(fixture, blob) \
    DO_PROBE_FULL("cut, " fixture " " #blob, testProbeCut, fixture, blob, 0, \
                  DAMAGED, UNKNOWN, CLEAR, { 0, "", 0 })


static int
testProbeGood(void)
{
    const virTPMState shortkey = {
        .kind = VIR_TPM_STATE_LINEAR, .encrypted = true, .shortkey = true,
    };
    int ret = 0;

    DO_PROBE("tpm2", "tpm2", 0, LINEAR, 2_0, CLEAR);
    DO_PROBE("tpm2 of a newer libtpms", "tpm2-newer", 0, LINEAR, 2_0, CLEAR);
    DO_PROBE("tpm2 encrypted", "tpm2-encrypted", 0, LINEAR, UNKNOWN, ENCRYPTED);
    DO_STATE("tpm2 encrypted with AES-128", "tpm2-encrypted", 0, shortkey,
             EDIT(BLOB_FLAGS, "\0\1"));
    DO_PROBE("tpm12", "tpm12", 0, LINEAR, 1_2, CLEAR);
    DO_PROBE("tpm12 encrypted", "tpm12-encrypted", 0, LINEAR, UNKNOWN, ENCRYPTED);
    DO_PROBE("two sections", "tpm12-volatile", 0, LINEAR, 1_2, CLEAR);
    DO_PROBE("two sections in the other order", "tpm12-volatile", 0, LINEAR, UNKNOWN, CLEAR,
             EDIT(SECTION_OFFSET(0), "\xc0\x08\0\0\xdf\x04\0\0\0\x08\0\0\xc0\0\0\0\xa1\x04\0\0\0\x08\0\0"));
    DO_PROBE("padded", "tpm2", 4 * 1024 * 1024, LINEAR, 2_0, CLEAR);
    DO_PROBE("padded to the limit", "tpm2", VIR_TPM_STATE_MAX_SIZE, LINEAR, 2_0, CLEAR);
    DO_PROBE("unknown payload", "tpm2", 0, LINEAR, UNKNOWN, CLEAR,
             EDIT(PAYLOAD + 2, "\x12"));
    DO_PROBE("newer payload", "tpm2", 0, LINEAR, 2_0, CLEAR,
             EDIT(PAYLOAD, "\0\x09"));
    DO_PROBE("data twice", "tpm2", 0, LINEAR, 2_0, CLEAR,
             EDIT(TLV_LENGTH, "\0\0\0\6"),
             EDIT(PAYLOAD + 6, "\0\1\0\0\5\7"));

    DO_PROBE_BLOB("blob", "tpm2", 0, BLOB, 2_0, CLEAR);
    DO_PROBE_BLOB("blob tpm12", "tpm12", 0, BLOB, 1_2, CLEAR);
    DO_PROBE_BLOB("blob encrypted", "tpm2-encrypted", 0, BLOB, UNKNOWN, ENCRYPTED);

    return ret;
}


static int
testProbeNoState(void)
{
    int ret = 0;

    DO_PROBE("empty", NULL, 0, BLANK, UNKNOWN, CLEAR);
    DO_PROBE("one zero", NULL, 1, BLANK, UNKNOWN, CLEAR);
    DO_PROBE("zeros", NULL, 5000, BLANK, UNKNOWN, CLEAR);
    DO_PROBE("zeros to the limit", NULL, VIR_TPM_STATE_MAX_SIZE, BLANK, UNKNOWN, CLEAR);
    DO_PROBE("zeros beyond the limit", NULL, VIR_TPM_STATE_MAX_SIZE + 1, UNKNOWN, UNKNOWN, CLEAR);
    DO_PROBE("zeros but the last", NULL, 5000, UNKNOWN, UNKNOWN, CLEAR, EDIT(4999, "x"));
    DO_PROBE("zeros but the second window's first", NULL, 5000, UNKNOWN, UNKNOWN, CLEAR,
             EDIT(1024, "x"));
    DO_PROBE("header only", NULL, 192, BLANK, UNKNOWN, CLEAR,
             EDIT(0, "nilmptws\x01\0\xc0\0"));
    DO_PROBE("header and padding", NULL, 4096, BLANK, UNKNOWN, CLEAR,
             EDIT(0, "nilmptws\x01\0\xc0\0"));
    DO_PROBE("header, room and padding", NULL, 300000, BLANK, UNKNOWN, CLEAR,
             EDIT(0, "nilmptws\x01\0\xc0\0\xc0\0\0\0\0\0\0\0\0\0\4\0"));
    DO_PROBE("header and anything", NULL, 4096, BLANK, UNKNOWN, CLEAR,
             EDIT(0, "nilmptws\x01\0\xc0\0"), EDIT(192, "\2\1\0\x0b anything"));
    DO_PROBE("volatile state only", "tpm12-volatile", 0, BLANK, UNKNOWN, CLEAR,
             EDIT(SECTION_OFFSET(0), "\0\0\0\0"), EDIT(BLOB_HEADER, "\0\0\0\0"));
    DO_PROBE("qcow2", NULL, 512, QCOW2, UNKNOWN, CLEAR, EDIT(0, "QFI\xfb\0\0\0\3"));
    DO_PROBE("luks", NULL, 512, LUKS, UNKNOWN, CLEAR, EDIT(0, "LUKS\xba\xbe\0\1"));
    DO_PROBE("text", NULL, 512, UNKNOWN, UNKNOWN, CLEAR, EDIT(0, "LUKS is not here"));
    DO_PROBE("linear beyond the limit", "tpm2", VIR_TPM_STATE_MAX_SIZE + 1,
             UNKNOWN, UNKNOWN, CLEAR);
    DO_PROBE_BLOB("blob with a migration flag", "tpm2", 0, UNKNOWN, UNKNOWN, CLEAR,
                  EDIT(4, "\0\x04"));
    DO_PROBE_BLOB("blob of an older version", "tpm2", 0, UNKNOWN, UNKNOWN, CLEAR,
                  EDIT(0, "\1"));

    DO_PROBE_FULL("random bytes", testProbeRandom, NULL, false, 0,
                  UNKNOWN, UNKNOWN, CLEAR, { 0, "", 0 });
    DO_PROBE_FULL("sparse", testProbeSparse, NULL, false, 0,
                  UNKNOWN, UNKNOWN, CLEAR, { 0, "", 0 });

    if (virTestRun("probe: unreadable", testProbeUnreadable, NULL) < 0)
        ret = -1;

    return ret;
}


static int
testProbeMendable(void)
{
    const virTPMState mendable = {
        .kind = VIR_TPM_STATE_DAMAGED, .version = VIR_TPM_STATE_VERSION_2_0, .mendable = true,
    };
    const virTPMState mendable12 = {
        .kind = VIR_TPM_STATE_DAMAGED, .version = VIR_TPM_STATE_VERSION_1_2, .mendable = true,
    };
    const virTPMState encrypted = {
        .kind = VIR_TPM_STATE_DAMAGED, .encrypted = true, .mendable = true,
    };
    int ret = 0;

    DO_STATE("damaged, entry lost", "tpm2", 0, mendable, EDIT(SECTION_OFFSET(0), LOST));
    DO_STATE("damaged, entry lost, file grown", "tpm2", 8384, mendable,
             EDIT(SECTION_OFFSET(0), LOST));
    DO_STATE("damaged, no data by the entry", "tpm2", 0, mendable,
             EDIT(SECTION_DATA(0), "\0\0\0\0"));
    DO_STATE("damaged, entry of the first of two lost", "tpm12-volatile", 0, mendable12,
             EDIT(SECTION_OFFSET(0), LOST));
    DO_STATE("damaged, entry of encrypted state lost", "tpm2-encrypted", 0, encrypted,
             EDIT(SECTION_OFFSET(0), LOST));

    DO_PROBE("damaged, entry lost, and the file is cut short", "tpm2", 1400, DAMAGED, UNKNOWN, CLEAR,
             EDIT(SECTION_OFFSET(0), LOST));

    return ret;
}


static int
testProbeDamagedSections(void)
{
    int ret = 0;

    DO_DAMAGED("version 0", "tpm2", EDIT(LINEAR_VERSION, "\0"));
    DO_DAMAGED("version 2", "tpm2", EDIT(LINEAR_VERSION, "\2"));
    DO_DAMAGED("short header", "tpm2", EDIT(LINEAR_HDRSIZE, "\xb4\0"));
    DO_DAMAGED("long header", "tpm2", EDIT(LINEAR_HDRSIZE, "\xff\xff"));
    DO_DAMAGED("section in the header", "tpm2", EDIT(SECTION_OFFSET(0), "\xbf\0\0\0"));
    DO_DAMAGED("section beyond the end", "tpm2", EDIT(SECTION_OFFSET(0), "\xc1\0\0\0"));
    DO_DAMAGED("section far away", "tpm2", EDIT(SECTION_OFFSET(0), "\xff\xff\xff\xff"));
    DO_DAMAGED("sum that wraps", "tpm2", EDIT(SECTION_LENGTH(0), "\x40\xff\xff\xff"));
    DO_DAMAGED("endless section", "tpm2", EDIT(SECTION_LENGTH(0), "\xff\xff\xff\xff"));
    DO_DAMAGED("endless data", "tpm2", EDIT(SECTION_DATA(0), "\xff\xff\xff\xff"));
    DO_DAMAGED("data longer than the section", "tpm2", EDIT(SECTION_LENGTH(0), "\x22\5\0\0"));
    DO_DAMAGED("no data, and the blob is cut short", "tpm2",
               EDIT(SECTION_DATA(0), "\0\0\0\0"), EDIT(BLOB_TOTLEN, "\0\1\0\0"));
    DO_DAMAGED("entry lost, and the blob is not permanent state", "tpm2",
               EDIT(SECTION_OFFSET(0), "\0\0\0\0"), EDIT(PAYLOAD + 2, "\x12"));
    DO_DAMAGED("less data", "tpm2", EDIT(SECTION_DATA(0), "\x22\5\0\0"));
    DO_DAMAGED("more data", "tpm2", EDIT(SECTION_DATA(0), "\x24\5\0\0"));
    DO_DAMAGED("sections overlap", "tpm12-volatile", EDIT(SECTION_OFFSET(1), "\xbf\x08\0\0"));
    DO_DAMAGED("other section in the header", "tpm12-volatile", EDIT(SECTION_OFFSET(1), "\1\0\0\0"));
    DO_DAMAGED("other section beyond the end", "tpm12-volatile", EDIT(SECTION_OFFSET(1), "\xc1\x08\0\0"));
    DO_DAMAGED("last section in the header", "tpm2", EDIT(SECTION_OFFSET(14), "\xbf\0\0\0\1\0\0\0\1\0\0\0"));
    DO_DAMAGED("last section overlaps", "tpm2", EDIT(SECTION_OFFSET(14), "\xc0\0\0\0\1\0\0\0\1\0\0\0"));
    DO_DAMAGED("no permanent state, but a bad section", "tpm12-volatile",
               EDIT(SECTION_OFFSET(0), "\0\0\0\0"),
               EDIT(SECTION_LENGTH(1), "\xff\xff\xff\xff"));

    return ret;
}


static int
testProbeDamagedBlobs(void)
{
    int ret = 0;

    DO_DAMAGED("blob version", "tpm2", EDIT(BLOB_HEADER, "\3"));
    DO_DAMAGED("blob header", "tpm2", EDIT(BLOB_HEADER + 2, "\0\x0b"));
    DO_DAMAGED("blob all zeros", "tpm2", EDIT(BLOB_HEADER, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    DO_DAMAGED("shorter blob", "tpm2", EDIT(BLOB_TOTLEN, "\0\0\5\x22"));
    DO_DAMAGED("endless blob", "tpm2", EDIT(BLOB_TOTLEN, "\xff\xff\xff\xff"));
    DO_DAMAGED("encrypted for migration", "tpm2", EDIT(BLOB_FLAGS, "\0\2"));
    DO_DAMAGED("migration data", "tpm2", EDIT(BLOB_FLAGS, "\0\4"));
    DO_DAMAGED("unknown flag", "tpm2", EDIT(BLOB_FLAGS, "\x80\0"));
    DO_DAMAGED("encrypted by flag only", "tpm2", EDIT(BLOB_FLAGS, "\0\x09"));
    DO_DAMAGED("clear by flag only", "tpm2-encrypted", EDIT(BLOB_FLAGS, "\0\0"));
    DO_DAMAGED("without data", "tpm2", EDIT(TLV_TAG, "\0\7"));
    DO_DAMAGED("without HMAC", "tpm2-encrypted", EDIT(TLV_TAG + 6 + 1312, "\0\7"));
    DO_DAMAGED("shorter TLV", "tpm2", EDIT(TLV_LENGTH, "\0\0\5\x12"));
    DO_DAMAGED("longer TLV", "tpm2", EDIT(TLV_LENGTH, "\0\0\5\x14"));
    DO_DAMAGED("endless TLV", "tpm2", EDIT(TLV_LENGTH, "\xff\xff\xff\xff"));
    DO_DAMAGED("part of a TLV header left", "tpm2", EDIT(TLV_LENGTH, "\0\0\5\x10"));

    DO_PROBE_BLOB("damaged, blob with a byte more", "tpm2", 1316, DAMAGED, UNKNOWN, CLEAR);
    DO_PROBE_BLOB("damaged, endless blob", "tpm2", 0, DAMAGED, UNKNOWN, CLEAR,
                  EDIT(6, "\xff\xff\xff\xff"));

    DO_CUT("tpm2", false);
    DO_CUT("tpm2-encrypted", false);
    DO_CUT("tpm12", false);
    DO_CUT("tpm12-volatile", false);
    DO_CUT("tpm2", true);
    DO_CUT("tpm2-encrypted", true);

    DO_PROBE_FULL("random headers", testProbeRandom, "tpm12-volatile", false, 0,
                  DAMAGED, UNKNOWN, CLEAR, { 0, "", 0 });

    return ret;
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


# define DO_CHECK(kind, message) \
    do { \
        const testCheckData data = { VIR_TPM_STATE_ ## kind, message }; \
        if (virTestRun("check: " #kind, testCheck, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testCheckAll(void)
{
    int ret = 0;

    DO_CHECK(LINEAR, NULL);
    DO_CHECK(BLANK, "is blank");
    DO_CHECK(DAMAGED, "is damaged, as its TPM state is truncated or inconsistent");
    if (virTestRun("check: mendable", testCheckMendable, NULL) < 0)
        ret = -1;
    if (virTestRun("check: cipher", testCheckCipher, NULL) < 0)
        ret = -1;
    DO_CHECK(BLOB, "holds a bare TPM state blob");
    DO_CHECK(QCOW2, "holds a qcow2 image");
    DO_CHECK(LUKS, "holds a LUKS container");
    DO_CHECK(UNKNOWN, "does not hold TPM state: move the file elsewhere and create the volume with vol-create");

    return ret;
}


# define DO_SECRET(name, encrypted, secret, message) \
    do { \
        const testCheckSecretData data = { encrypted, secret, message }; \
        if (virTestRun("secret: " name, testCheckSecret, &data) < 0) \
            ret = -1; \
    } while (0)

# define DO_REPORT(name, log, code, message) \
    do { \
        const testReportData data = { log, code, message }; \
        if (virTestRun("report: " name, testReport, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testSecrets(void)
{
    int ret = 0;

    DO_SECRET("clear without", CLEAR, false, NULL);
    DO_SECRET("encrypted with", ENCRYPTED, true, NULL);
    DO_SECRET("encrypted without", ENCRYPTED, false,
              "usage name is '/tpm/guest1'");
    DO_SECRET("clear with", CLEAR, true,
              "TPM volume 'guest1' of pool 'tpmpool' has a secret, but its content is not encrypted");

    DO_REPORT("wrong passphrase", "swtpm: Verification of HMAC failed. Data integrity is compromised\n",
              VIR_ERR_AUTH_FAILED,
              "wrong passphrase for TPM volume 'guest1' of pool 'tpmpool'");
    DO_REPORT("newer state", "libtpms/tpm2: NV_HEADER_UnmarshalVerbose: Minimum version 4 higher than implementation version 3 for type 0xab364723\nlibtpms/tpm2: Entering failure mode; code: 8, location: NvPowerOn line 126\n",
              VIR_ERR_CONFIG_UNSUPPORTED,
              "volume 'guest1' of pool 'tpmpool' has format 4 of a newer libtpms, but this host supports formats up to 3");
    DO_REPORT("volatile state", "libtpms/tpm2: Invalid magic. Expected 0xab364723, got 0x45637889\n",
              VIR_ERR_OPERATION_INVALID,
              "TPM volume 'guest1' of pool 'tpmpool' does not hold permanent TPM state");
    DO_REPORT("lines", "\nfirst\nData client disconnected\n\nsecond",
              VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': first; second");
    DO_REPORT("nothing", "", VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': internal error: it has exited");
    DO_REPORT("nothing of interest", "Data client disconnected\n", VIR_ERR_OPERATION_FAILED,
              "volume 'guest1' of pool 'tpmpool': internal error: it has exited");

    return ret;
}


# define DO_LOCK(name, func) \
    do { \
        if (virTestRun("lock: " name, func, &data) < 0) \
            ret = -1; \
    } while (0)


static int
testLockAll(void)
{
    char template[] = abs_builddir "/virtpmstatetest-XXXXXX";
    const char *dir = g_mkdtemp(template);
    g_autofree char *path = g_strdup_printf("%s/guest1", template);
    const testLockData data = { dir, path };
    int ret = 0;

    if (!dir || virFileWriteStr(path, "state", 0600) < 0)
        return -1;

    DO_LOCK("taken once", testLockTwice);
    DO_LOCK("of readers and writers", testLockShared);
    DO_LOCK("of nothing", testLockSharedNothing);
    DO_LOCK("keeps out POSIX locks", testLockPOSIX);
    DO_LOCK("inherited", testLockInherited);
    DO_LOCK("no other files are looked at", testLockStrangers);
    DO_LOCK("on a file system that hides it", testLockHidden);
    DO_LOCK("of a name", testLockAt);
    DO_LOCK("held briefly", testLockBrief);
    DO_LOCK("replaced file", testLockReplaced);
    DO_LOCK("missing file", testOpenMissing);
    DO_LOCK("not a regular file", testOpenNotRegular);
    DO_LOCK("no permission", testOpenNoPermission);

    virFileDeleteTree(dir);
    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testProbeGood() < 0)
        ret = -1;
    if (testProbeNoState() < 0)
        ret = -1;
    if (testProbeDamagedSections() < 0 || testProbeDamagedBlobs() < 0 ||
        testProbeMendable() < 0)
        ret = -1;
    if (testToLinearAll() < 0)
        ret = -1;
    if (testMakeRoomAll() < 0)
        ret = -1;
    if (testCheckAll() < 0)
        ret = -1;
    if (testSecrets() < 0)
        ret = -1;
    if (testLockAll() < 0)
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
