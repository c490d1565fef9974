/*
 * storagetpmsidecartest.c: what a tpm storage pool remembers of its volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sidecars, which hold the XML of volumes: how they are written, read and replaced,
 * and what others do meanwhile; and copies of descriptions.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpm.h"
#include "testutilsstoragetpmpool.h"
#include "testutilsstoragetpmwindow.h"

#include "storage/storage_tpm_copy.h"
#include "storage/storage_tpm_scan.h"
#include "storage/storage_tpm_sidecar.h"
#include "storage/storage_tpm_temp.h"
#include "storage_vol_tpm.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


#define SIDECAR_MAX (64 * 1024)


static virStorageVolDef *
testSidecarRead(virStoragePoolDef *pool,
                const char *name)
{
    virStorageVolDef *def = NULL;

    if (virStorageTPMSidecarRead(pool, name, -1, &def) < 0)
        abort();

    return def;
}


/* Its text is as expected, and so is what is read from it. */
static int
testSidecar(virStoragePoolDef *pool,
            const char *arg)
{
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/%s-written.xml",
                                              abs_srcdir, arg);
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autoptr(virStorageVolDef) vol = testVol(pool, arg);
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;
    g_autofree char *written = NULL;
    g_autofree char *again = NULL;
    struct stat sb;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");
    testFile(pool, "guest1.tpm.xml", "an orphan");

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectFiles(pool, "guest1.tpm.xml") < 0 ||
        stat(path, &sb) < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &written) < 0 ||
        virTestCompareToFile(written, expect) < 0)
        return -1;

    if ((sb.st_mode & 07777) != 0600 ||
        strstr(written, pool->target.path) || strstr(written, "<path>"))
        return -1;

    if (!(back = testSidecarRead(pool, "guest1")) ||
        !(again = virStorageVolDefFormat(pool, back)))
        return -1;

    return virTestCompareToString(written, again);
}


/* A directory that changes hands loses no identities. */
static int
testSidecarOwner(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;

    if (geteuid() != 0)
        return EXIT_AM_SKIP;

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        chown(pool->target.path, 1234, 2345) < 0 ||
        !(back = testSidecarRead(pool, "guest1")))
        return -1;

    return 0;
}


/* Not while there is a volume, nor while another one is made. */
static int
testSidecarNameUsed(virStoragePoolDef *pool,
                    const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) first = NULL;
    g_autoptr(virStorageTPMTemp) second = NULL;
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");

    if (!(first = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    if (STREQ(arg, "volume")) {
        testFile(pool, "guest1", "state");
        virStorageTPMTempKeep(first);
        g_clear_pointer(&first, virStorageTPMTempFree);
    }

    if (virFileReadAll(path, SIDECAR_MAX, &before) < 0 ||
        (second = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &after) < 0)
        return -1;

    return virTestCompareToString(before, after);
}


/* It goes again if the volume does not come. */
static int
testSidecarWithdrawn(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (!(sidecar = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    g_clear_pointer(&sidecar, virStorageTPMTempFree);
    return testExpectFiles(pool, "");
}


/* Between a look at an orphan and its lock another host has put its own sidecar
 * in the orphan's place, and is about to publish its volume. */
static int
testSidecarMeanwhile(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) other = testVolNew(pool, "guest1");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;
    g_autoptr(virStorageVolDef) back = NULL;

    g_free(vol->target.path);
    vol->target.path = testPath(pool, "guest1");
    other->target.format = VIR_STORAGE_FILE_RAW;
    testFile(pool, "guest1.tpm.xml", "an orphan");

    /* after the lock of the temporary */
    testWindowOpen(TEST_WINDOW_BEFORE_LOCK, 1, testWindowPlace, pool, other);

    if ((sidecar = virStorageTPMSidecarPlace(pool, vol)) || !testWindow.temp ||
        testExpectError(VIR_ERR_STORAGE_VOL_EXIST, "'guest1'") < 0)
        return -1;

    virStorageTPMTempKeep(testWindow.temp);
    if (!testWindowClose() || testExpectFiles(pool, "guest1.tpm.xml") < 0)
        return -1;

    /* the other's has no TPM */
    back = testSidecarRead(pool, "guest1");
    return back && !back->tpm ? 0 : -1;
}


/* Whether a description of this capacity is read, and how many the sidecar has then. */
static bool
testSidecarTells(virStoragePoolDef *pool,
                 unsigned long long capacity,
                 int descriptions)
{
    g_autoptr(virStorageVolDef) def = testSidecarRead(pool, "guest1");
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autofree char *text = NULL;

    if (virFileReadAll(path, 64 * 1024, &text) < 0)
        abort();

    return def && def->target.capacity == capacity &&
        (strstr(text, "<replacement ") ? 2 : 1) == descriptions;
}


/* An announced description holds from the moment on at which the volume is replaced, and
 * the former is dropped. Until that can be done nobody gets the volume: a guest might
 * write to it. */
static int
testSidecarAnnounced(virStoragePoolDef *pool,
                     const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) next = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) busy = NULL;
    g_autoptr(virStorageTPMTemp) temp = NULL;

    vol->target.format = next->target.format = VIR_STORAGE_FILE_RAW;
    vol->target.capacity = 1000;
    next->target.capacity = 2000;
    testStateFile(pool, "guest1", "tpm12");
    temp = testTempWritten(pool, "tpm2");

    if (virStorageTPMSidecarAnnounce(pool, vol, next, temp) < 0 ||
        !testSidecarTells(pool, 1000, 2) ||
        virStorageTPMTempReplace(temp, vol->target.path) < 0 ||
        virStorageTPMSidecarRead(pool, "guest1", -1, &busy) == 0 ||
        testExpectError(VIR_ERR_RESOURCE_BUSY, "'guest1' of pool 'tpmpool' is being replaced") < 0)
        return -1;

    g_clear_pointer(&temp, virStorageTPMTempFree);
    if (!testSidecarTells(pool, 2000, 1))
        return -1;

    testStateFile(pool, "guest1", "tpm12");
    return testSidecarTells(pool, 2000, 1) ? 0 : -1;
}


static void
testWindowAdd(void)
{
    testFile(testWindow.pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>");
}


/* For whole state that has none, and never in place of one. */
static int
testSidecarAdd(virStoragePoolDef *pool,
               const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVolNew(pool, "guest1");
    g_autoptr(virStorageVolDef) first = NULL;
    g_autoptr(virStorageVolDef) second = NULL;
    VIR_AUTOCLOSE lock = -1;

    testStateFile(pool, "guest1", "tpm12");

    if ((lock = virStorageVolTPMOpen(vol->target.path, "tpmpool", "guest1")) < 0 ||
        virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        testExpectFiles(pool, "guest1") < 0)
        return -1;
    VIR_FORCE_CLOSE(lock);

    if (arg)
        testWindowOpen(TEST_WINDOW_BEFORE_RENAME_NEW, 0, testWindowAdd, pool, vol);

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0 ||
        testExpectNoError() < 0)
        return -1;

    if (arg)
        return testWindowClose() ?
            testExpectText(pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>") : -1;

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        !(first = testSidecarRead(pool, "guest1")) ||
        !first->tpm->hasuuid || first->tpm->version != VIR_DOMAIN_TPM_VERSION_1_2 ||
        virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        !(second = testSidecarRead(pool, "guest1")))
        return -1;

    return memcmp(first->tpm->uuid, second->tpm->uuid, VIR_UUID_BUFLEN);
}


static int
testSidecarAddNot(virStoragePoolDef *pool,
                  const char *arg)
{
    testFile(pool, "guest1", arg);

    if (virStorageTPMScanAddSidecar(pool, "guest1") < 0 ||
        virStorageTPMScanAddSidecar(pool, "missing") < 0 ||
        testExpectNoError() < 0)
        return -1;

    return testExpectFiles(pool, "guest1");
}


/* In place of the one of the same volume. */
static int
testSidecarReplace(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autofree char *expect = g_strdup_printf("%s/storagetpmdata/sidecar-uuid-written.xml",
                                              abs_srcdir);
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autofree char *written = NULL;

    testFile(pool, "guest1", "state");
    testFile(pool, "guest1.tpm.xml", "old");

    if (virStorageTPMSidecarReplace(pool, vol) < 0 ||
        testIsLocked(path) ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0 ||
        virFileReadAll(path, SIDECAR_MAX, &written) < 0 ||
        virTestCompareToFile(written, expect) < 0)
        return -1;

    g_free(vol->tpm->profile.source);
    vol->tpm->profile.source = g_strnfill(SIDECAR_MAX, 'x');

    if (virStorageTPMSidecarReplace(pool, vol) == 0 ||
        testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "at most 65536") < 0 ||
        testExpectFiles(pool, "guest1 guest1.tpm.xml") < 0)
        return -1;

    return testExpectText(pool, "guest1.tpm.xml", written);
}


static int
testSidecarTooLarge(virStoragePoolDef *pool,
                    const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    g_free(vol->tpm->profile.source);
    vol->tpm->profile.source = g_strnfill(SIDECAR_MAX, 'x');

    if ((sidecar = virStorageTPMSidecarPlace(pool, vol)) ||
        testExpectFiles(pool, "") < 0)
        return -1;

    return testExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "at most 65536");
}


static int
testSidecarNoDirectory(virStoragePoolDef *pool,
                       const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageTPMTemp) sidecar = NULL;

    if (virFileDeleteTree(pool->target.path) < 0 ||
        (sidecar = virStorageTPMSidecarPlace(pool, vol)))
        return -1;

    return testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot create file '");
}


/* Good text up to @size bytes. */
static void
testSidecarPad(const virStoragePoolDef *pool,
               size_t size)
{
    const char *text = "<volume><name>guest1</name></volume>";
    g_autofree char *fill = g_strnfill(size - strlen(text), '\n');
    g_autofree char *padded = g_strdup_printf("%s%s", text, fill);

    testFile(pool, "guest1.tpm.xml", padded);
}


static int
testSidecarRefused(virStoragePoolDef *pool)
{
    g_autoptr(virStorageVolDef) back = testSidecarRead(pool, "guest1");

    if (back) {
        VIR_TEST_VERBOSE("a sidecar was taken that must not be");
        return -1;
    }

    return testExpectNoError();
}


static int
testSidecarSize(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) back = NULL;

    testSidecarPad(pool, SIDECAR_MAX);
    if (!(back = testSidecarRead(pool, "guest1")))
        return -1;

    testSidecarPad(pool, SIDECAR_MAX + 1);
    return testSidecarRefused(pool);
}


static int
testSidecarText(virStoragePoolDef *pool,
                const char *arg)
{
    if (arg)
        testFile(pool, "guest1.tpm.xml", arg);

    return testSidecarRefused(pool);
}


static int
testSidecarLink(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    testFile(pool, "good", "<volume><name>guest1</name></volume>");

    if (symlink("good", path) < 0)
        return -1;

    return testSidecarRefused(pool);
}


/* Nobody ever opens its other end. */
static int
testSidecarFifo(virStoragePoolDef *pool,
                const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    if (mkfifo(path, 0600) < 0)
        return -1;

    return testSidecarRefused(pool);
}


static int
testSidecarForeign(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autofree char *path = testPath(pool, "guest1.tpm.xml");

    if (geteuid() != 0)
        return EXIT_AM_SKIP;

    testFile(pool, "guest1.tpm.xml", "<volume><name>guest1</name></volume>");

    if (chown(path, 1234, -1) < 0)
        return -1;

    return testSidecarRefused(pool);
}


static int
testSidecars(void)
{
    int ret = 0;

    DO_POOL_ARG("sidecar with secret by uuid", testSidecar, "sidecar-uuid");
    DO_POOL_ARG("sidecar with secret by usage", testSidecar, "sidecar-usage");
    DO_POOL("sidecar in a directory that changes hands", testSidecarOwner);
    DO_POOL_ARG("sidecar of a volume that is there", testSidecarNameUsed, "volume");
    DO_POOL_ARG("sidecar of a volume that is made", testSidecarNameUsed, "sidecar");
    DO_POOL("sidecar without its volume", testSidecarWithdrawn);
    DO_POOL("sidecar in place of an orphan that is replaced", testSidecarMeanwhile);
    DO_POOL("sidecar in place of another", testSidecarReplace);
    DO_POOL("sidecar with two descriptions", testSidecarAnnounced);
    DO_POOL("sidecar added", testSidecarAdd);
#ifdef WITH_RENAMEAT2
    DO_POOL_ARG("sidecar added by another host", testSidecarAdd, "other");
#endif
    DO_POOL_ARG("no sidecar for a blank volume", testSidecarAddNot, "");
    DO_POOL_ARG("no sidecar for foreign content", testSidecarAddNot, "foreign");
    DO_POOL("sidecar that is too large", testSidecarTooLarge);
    DO_POOL("sidecar without a directory", testSidecarNoDirectory);
    DO_POOL("sidecar of 64 KiB, and one byte more", testSidecarSize);
    DO_POOL("sidecar missing", testSidecarText);
    DO_POOL_ARG("sidecar empty", testSidecarText, "");
    DO_POOL_ARG("sidecar of line ends", testSidecarText, "\n\n");
    DO_POOL_ARG("sidecar cut short", testSidecarText, "<volume><name>guest1</na");
    DO_POOL_ARG("sidecar with another root", testSidecarText,
                "<pool type='tpm'><name>guest1</name></pool>");
    DO_POOL_ARG("sidecar with a bad uuid", testSidecarText,
                "<volume><name>guest1</name><tpm><uuid>1</uuid></tpm></volume>");
    DO_POOL("sidecar is a link", testSidecarLink);
    DO_POOL("sidecar is a pipe", testSidecarFifo);
    DO_POOL("sidecar of another owner", testSidecarForeign);

    return ret;
}


/* Descriptions that are copied. */

static int
testExpectSame(const virStorageVolTPMDef *a,
               const virStorageVolTPMDef *b)
{
    g_auto(virBuffer) abuf = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) bbuf = VIR_BUFFER_INITIALIZER;

    virStorageVolTPMDefFormat(&abuf, a);
    virStorageVolTPMDefFormat(&bbuf, b);

    return virTestCompareToString(virBufferCurrentContent(&abuf),
                                  virBufferCurrentContent(&bbuf));
}


/* All that stands in XML, and none of it shared. */
static int
testDescriptionCopy(virStoragePoolDef *pool,
                    const char *arg)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, arg);
    g_autoptr(virStorageVolDef) again = testVol(pool, arg);
    g_autoptr(virStorageVolTPMDef) copy = NULL;

    vol->tpm->manufacture = again->tpm->manufacture = VIR_TRISTATE_BOOL_NO;
    vol->tpm->identity = again->tpm->identity = VIR_STORAGE_VOL_TPM_IDENTITY_NEW;

    copy = virStorageVolTPMDefCopy(vol->tpm);
    g_clear_pointer(&vol->tpm, virStorageVolTPMDefFree);

    return testExpectSame(again->tpm, copy);
}


static int
testDescriptionSource(virStoragePoolDef *pool,
                      const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) vol = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) again = testVol(pool, "sidecar-uuid");
    g_autoptr(virStorageVolDef) bare = testVolNew(pool, "guest1");
    const virStorageEncryption *encryption;

    virStorageTPMCopySetSource(bare, "bare");
    if (STRNEQ(bare->target.srcpool->pool, "bare") ||
        STRNEQ(bare->target.srcpool->volume, "guest1") || !bare->tpm ||
        bare->tpm->nendorsements != 0 || bare->target.encryption)
        return -1;

    virStorageTPMCopySetSource(vol, "tpmpool");

    encryption = vol->target.encryption;
    if (STRNEQ(vol->target.srcpool->pool, "tpmpool") ||
        !encryption || encryption->nsecrets != 1 ||
        memcmp(encryption->secrets[0]->seclookupdef.u.uuid,
               again->target.encryption->secrets[0]->seclookupdef.u.uuid,
               VIR_UUID_BUFLEN) != 0)
        return -1;

    return testExpectSame(again->tpm, vol->tpm);
}


static int
testDescriptions(void)
{
    int ret = 0;

    DO_POOL_ARG("copy of a description", testDescriptionCopy, "sidecar-uuid");
    DO_POOL_ARG("copy of a short description", testDescriptionCopy, "sidecar-usage");
    DO_POOL("description of a source", testDescriptionSource);

    return ret;
}


static int
mymain(void)
{
    int ret = 0;

    if (testSidecars() < 0)
        ret = -1;
    if (testDescriptions() < 0)
        ret = -1;

    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
