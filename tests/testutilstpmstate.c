/*
 * testutilstpmstate.c: shared code of the tests of TPM state
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads the fixtures in virtpmstatedata, changes them as a test wants them, and compares
 * what the code under test has made of them.
 */

#include <config.h>

#include <unistd.h>

#include "testutils.h"
#include "testutilstpmstate.h"

#include "virendian.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_TPM


GByteArray *
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


void
testResize(GByteArray *file,
           size_t size)
{
    size_t old = file->len;

    g_byte_array_set_size(file, size);
    if (size > old)
        memset(file->data + old, 0, size - old);
}


void
testKeepBlob(GByteArray *file)
{
    size_t len = virReadBufInt32LE(file->data + SECTION_DATA(0));

    g_byte_array_remove_range(file, 0, BLOB_HEADER);
    g_byte_array_set_size(file, len);
}


int
testExpectProbe(const virTPMState *expect,
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


uint8_t *
testExactCopy(const uint8_t *bytes,
              size_t len)
{
    uint8_t *copy = g_new0(uint8_t, len);

    if (len > 0)
        memcpy(copy, bytes, len);

    return copy;
}


int
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
    return testExpectProbe(state, &again);
}
