/*
 * virtpmstatetest.c: recognise the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is in a file or in memory: whole state, clear or encrypted, of either version;
 * damaged or blank state; or something else. No cut of a state, and no random bytes,
 * may pass for one.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilserror.h"
#include "testutilstpmstate.h"

#include "virfile.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_TPM

#ifdef F_OFD_SETLK


typedef struct _testProbeData testProbeData;
struct _testProbeData {
    const char *fixture;     /* NULL: begins with zeros */
    bool blob;               /* only the blob of the permanent state */
    size_t size;             /* cut or padded with zeros to this, 0: not */
    const testEdit *edits;
    size_t nedits;
    virTPMState expect;
};


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

    return testExpectProbe(&data->expect, &state);
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
            testExpectProbe(&expect, &state) < 0) {
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
            return testExpectProbe(&data->expect, &state);
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

    return testExpectProbe(&expect, &state);
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
