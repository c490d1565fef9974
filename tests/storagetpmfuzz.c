/*
 * storagetpmfuzz.c: read arbitrary text as the sidecar of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any text may stand in a sidecar: reading it twice gives the same, and what was read can
 * be written and read again, with the same content.
 */

#include <config.h>

#include <fcntl.h>

#include "testfuzz.h"

#include "storage_conf_tpm.h"
#include "storage/storage_tpm_sidecar.h"
#include "storage/storage_tpm_temp.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define NAME "volume"

static virStoragePoolDef *testPoolDef;
static char *testVolume;
static char *testSidecar;


/* White space in an attribute and line ends are not kept by XML as they are. */
static bool
testSameText(const char *a,
             const char *b)
{
    a = NULLSTR_EMPTY(a);
    b = NULLSTR_EMPTY(b);

    if (strchr(a, '\r'))
        return true;

    while (*a && (*a == *b || (g_ascii_isspace(*a) && g_ascii_isspace(*b)))) {
        a++;
        b++;
    }

    return *a == *b;
}


static void
testCheckSameSecret(const virStorageEncryptionSecret *a,
                    const virStorageEncryptionSecret *b)
{
    REQUIRE(a->type == b->type);
    REQUIRE(a->seclookupdef.type == b->seclookupdef.type);

    if (a->seclookupdef.type == VIR_SECRET_LOOKUP_TYPE_UUID)
        REQUIRE(memcmp(a->seclookupdef.u.uuid, b->seclookupdef.u.uuid, VIR_UUID_BUFLEN) == 0);
    else
        REQUIRE(testSameText(a->seclookupdef.u.usage, b->seclookupdef.u.usage));
}


static void
testCheckSameEncryption(const virStorageEncryption *a,
                        const virStorageEncryption *b)
{
    size_t i;

    REQUIRE(!a == !b);
    if (!a)
        return;

    REQUIRE(a->engine == b->engine);
    REQUIRE(a->format == b->format);
    REQUIRE(a->nsecrets == b->nsecrets);

    for (i = 0; i < a->nsecrets; i++)
        testCheckSameSecret(a->secrets[i], b->secrets[i]);
}


static void
testCheckSameTPM(const virStorageVolTPMDef *a,
                 const virStorageVolTPMDef *b)
{
    size_t i;

    REQUIRE(a->version == b->version);
    REQUIRE(a->manufacture == b->manufacture);
    REQUIRE(a->identity == b->identity);
    REQUIRE(a->hasuuid == b->hasuuid);
    REQUIRE(memcmp(a->uuid, b->uuid, VIR_UUID_BUFLEN) == 0);
    REQUIRE(!a->activePcrBanks == !b->activePcrBanks);
    if (a->activePcrBanks)
        REQUIRE(virBitmapEqual(a->activePcrBanks, b->activePcrBanks));
    REQUIRE(!a->profile.source == !b->profile.source);
    REQUIRE(testSameText(a->profile.source, b->profile.source));
    REQUIRE(a->profile.removeDisabled == b->profile.removeDisabled);
    REQUIRE(a->nendorsements == b->nendorsements);

    for (i = 0; i < a->nendorsements; i++) {
        REQUIRE(testSameText(a->endorsements[i].key, b->endorsements[i].key));
        REQUIRE(testSameText(a->endorsements[i].fingerprint, b->endorsements[i].fingerprint));
        REQUIRE(testSameText(a->endorsements[i].certificate, b->endorsements[i].certificate));
    }
}


/* What a sidecar is for. A <tpm> without anything in it need not be kept. */
static void
testCheckSame(const virStorageVolDef *a,
              const virStorageVolDef *b)
{
    g_autoptr(virStorageVolTPMDef) nothing = g_new0(virStorageVolTPMDef, 1);

    REQUIRE(a->target.capacity == b->target.capacity);
    REQUIRE(a->target.format == b->target.format);
    testCheckSameEncryption(a->target.encryption, b->target.encryption);
    testCheckSameTPM(a->tpm ? a->tpm : nothing, b->tpm ? b->tpm : nothing);
}


/* Puts the sidecar in its place as for a volume that is being made. Its name and
 * path are never those of the sidecar. Returns its text, NULL if it is too long. */
static char *
testPlace(virStorageVolDef *def)
{
    g_autoptr(virStorageTPMTemp) temp = NULL;
    g_autofree char *text = NULL;

    g_free(def->name);
    def->name = g_strdup(NAME);
    g_free(def->target.path);
    def->target.path = g_strdup(testVolume);

    if (!(temp = virStorageTPMSidecarPlace(testPoolDef, def))) {
        REQUIRE(virGetLastErrorCode() == VIR_ERR_CONFIG_UNSUPPORTED);
        virResetLastError();
        return NULL;
    }

    virStorageTPMTempKeep(temp);
    REQUIRE(virFileReadAll(testSidecar, 1024 * 1024, &text) >= 0);
    return g_steal_pointer(&text);
}


static void
testWrite(const uint8_t *data,
          size_t len)
{
    VIR_AUTOCLOSE fd = open(testSidecar, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || safewrite(fd, data, len) != len)
        abort();
}


int
LLVMFuzzerInitialize(int *argc G_GNUC_UNUSED,
                     char ***argv G_GNUC_UNUSED)
{
    g_autofree char *dir = g_dir_make_tmp("storagetpmfuzz-XXXXXX", NULL);

    testFuzzQuiet();

    if (!dir ||
        !(testPoolDef = virStoragePoolDefParse("<pool type='tpm'><name>tpm</name></pool>", NULL, 0)))
        abort();

    testVolume = g_strdup_printf("%s/%s", dir, NAME);
    testSidecar = g_strdup_printf("%s/%s.tpm.xml", dir, NAME);
    g_free(testPoolDef->target.path);
    testPoolDef->target.path = g_steal_pointer(&dir);
    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data,
                       size_t len)
{
    g_autoptr(virStorageVolDef) first = NULL;
    g_autoptr(virStorageVolDef) second = NULL;
    g_autofree char *written = NULL;
    g_autofree char *again = NULL;

    testWrite(data, len);

    REQUIRE(virStorageTPMSidecarRead(testPoolDef, NAME, -1, &first) == 0);
    REQUIRE(virGetLastErrorCode() == VIR_ERR_OK);

    if (!first || !(written = testPlace(first)))
        return 0;

    REQUIRE(virStorageTPMSidecarRead(testPoolDef, NAME, -1, &second) == 0);
    REQUIRE(second);
    testCheckSame(first, second);

    again = testPlace(second);
    REQUIRE(again);
    REQUIRE(testSameText(written, again));

    return 0;
}
