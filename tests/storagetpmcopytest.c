/*
 * storagetpmcopytest.c: make a TPM volume from another volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies, conversions and imports are made by libvirt_tpmhelper, which runs a fake
 * swtpm or, where there is one, the real one.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsstoragetpmpool.h"
#include "testutilstpmhelper.h"

#include "datatypes.h"
#include "storage/storage_tpm_bytes.h"
#include "storage/storage_tpm_copy.h"
#include "virendian.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpm.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#define LIBVIRT_STORAGE_TPM_HELPERPRIV_H_ALLOW
#include "storage/storage_tpm_helperpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* What the code under test finds on this host. */

static const char *testSwtpm; /* NULL: none */

char *
virTPMGetSwtpm(void)
{
    if (!testSwtpm)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s", "test has no swtpm");

    return g_strdup(testSwtpm);
}


char *
virFileFindResource(const char *filename,
                    const char *builddir,
                    const char *installdir G_GNUC_UNUSED)
{
    return g_build_filename(builddir, filename, NULL);
}


static int
testExpectSameBytes(const virStorageTPMBytes *expect,
                    const virStorageTPMBytes *actual)
{
    return testExpectBytes(actual, expect->data, expect->len);
}


static void
testUseFake(const testFake *fake)
{
    testSwtpm = testFakeSwtpm(fake);
    virStorageTPMHelperTimeout = fake->hangs ? 2 : 60;
}


static bool
testUseReal(void)
{
    testSwtpm = testRealSwtpm();
    virStorageTPMHelperTimeout = 60;
    return testSwtpm;
}


/* Copies. */

/* A volume of @pool; @secret is the usage of its secret, or NULL. */
static virStorageVolDef *
testCopyVol(virStoragePoolDef *pool,
            const char *name,
            const char *secret,
            const char *tpm)
{
    g_autofree char *encryption = NULL;
    g_autofree char *xml = NULL;
    virStorageVolDef *vol;

    if (secret)
        encryption = g_strdup_printf("<encryption format='vtpm'>"
                                     "<secret type='passphrase' usage='%s'/>"
                                     "</encryption>", secret);

    xml = g_strdup_printf("<volume><name>%s</name><target>%s</target>%s</volume>",
                          name, NULLSTR_EMPTY(encryption), tpm ? tpm : "<tpm/>");

    if (!(vol = virStorageVolDefParse(pool, xml, NULL, 0)))
        abort();

    g_free(vol->target.path);
    vol->target.path = testPath(pool, name);
    return vol;
}


/* How the state of a fixture is put into the volume that is copied. */
typedef enum {
    TEST_SOURCE_LINEAR,
    TEST_SOURCE_PADDED,
    TEST_SOURCE_BLOB,
} testSource;


static virStorageTPMBytes *
testSourceBytes(const char *fixture,
                testSource how)
{
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    size_t len;

    if (*fixture == '\0')
        return g_new0(virStorageTPMBytes, 1);

    bytes = testState(fixture);

    switch (how) {
    case TEST_SOURCE_LINEAR:
        break;
    case TEST_SOURCE_PADDED:
        bytes->data = g_realloc(bytes->data, 8192);
        memset(bytes->data + bytes->len, 0, 8192 - bytes->len);
        bytes->len = 8192;
        break;
    case TEST_SOURCE_BLOB:
        len = virReadBufInt32LE(bytes->data + 16);
        memmove(bytes->data, bytes->data + 192, len);
        bytes->len = len;
        break;
    }

    return g_steal_pointer(&bytes);
}


#define CLEAR NULL
#define FOREIGN "foreign"

typedef struct _testCopyData testCopyData;
struct _testCopyData {
    const char *fixture;
    testSource how;
    const char *from;   /* the source's secret; FOREIGN: it is no TPM volume */
    const char *source; /* what the source says of its TPM, NULL for nothing */
    const char *to;
    const char *asked;  /* what is asked for the TPM, NULL for nothing */

    const char *learned; /* NULL: no copy is made */
    int code;
    const char *error;

    testFake fake;      /* the swtpm, unless it is the real one */
};


/* Neither the source nor anything beside it changes. */
static int
testExpectSource(const virStoragePoolDef *pool,
                 const char *path,
                 const virStorageTPMBytes *before)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(virStorageTPMBytes) after = NULL;
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    size_t n = 0;

    if (fd < 0 || !(after = virStorageTPMBytesRead(fd, path)) ||
        testExpectSameBytes(before, after) < 0 ||
        virDirOpen(&dir, pool->target.path) < 0)
        return -1;

    while (virDirRead(dir, &ent, NULL) > 0)
        n++;

    return n == 1 ? 0 : -1;
}


/* The state with its room, as it is written. */
static virStorageTPMBytes *
testLaidOut(const virStorageTPMBytes *bytes)
{
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len)))
        return NULL;

    return g_steal_pointer(&linear);
}


static int
testExpectCopy(const testCopyData *data,
               const virStorageVolDef *vol,
               const virStorageTPMBytes *copy)
{
    g_autoptr(virStorageTPMBytes) expect = testState(data->fixture);
    g_autofree char *learned = testDescribe(vol->tpm);
    virTPMState state;

    virTPMStateProbeBytes(copy->data, copy->len, &state);

    if (state.kind != VIR_TPM_STATE_LINEAR ||
        state.encrypted != !!data->to ||
        vol->tpm->version == VIR_DOMAIN_TPM_VERSION_DEFAULT ||
        virTestCompareToString(data->learned, learned) < 0)
        return -1;

    /* what need not be converted is not */
    if (STREQ_NULLABLE(data->from, data->to) ||
        (STREQ_NULLABLE(data->from, FOREIGN) && !data->to)) {
        g_autoptr(virStorageTPMBytes) room = testLaidOut(expect);
        g_autoptr(virStorageTPMBytes) made = testLaidOut(copy);

        return room && made ? testExpectSameBytes(room, made) : -1;
    }

    return testExpectNoError();
}


static int
testCopyIn(virStoragePoolDef *pool,
           const void *opaque)
{
    const testCopyData *data = opaque;
    bool foreign = STREQ_NULLABLE(data->from, FOREIGN);
    g_autoptr(virStorageTPMBytes) before = testSourceBytes(data->fixture, data->how);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    g_autoptr(virStorageVolDef) orig = testCopyVol(pool, "one", foreign ? NULL : data->from,
                                                   data->source);
    g_autoptr(virStorageVolDef) vol = testCopyVol(pool, "two", data->to, data->asked);

    testWrite(orig->target.path, before);
    if (!foreign)
        virStorageTPMCopySetSource(orig, "tpmpool");

    copy = virStorageTPMCopy(pool, vol, orig);

    if (data->error) {
        if (copy || testExpectError(data->code, data->error) < 0)
            return -1;
    } else if (!copy) {
        testExpectNoError();
        return -1;
    } else if (testExpectCopy(data, vol, copy) < 0) {
        return -1;
    }

    return testExpectSource(pool, orig->target.path, before);
}


static int
testCopyReal(const void *opaque)
{
    return testUseReal() ? testInPool(testCopyIn, opaque) : EXIT_AM_SKIP;
}


static int
testCopyFake(const void *opaque)
{
    const testCopyData *data = opaque;
    g_autofree char *expanded = testExpand(NULLSTR_EMPTY(data->fake.data));
    const testFake fake = {
        data->fake.control, expanded, data->fake.log, data->fake.hangs
    };

    testUseFake(&fake);
    return testInPool(testCopyIn, data);
}


/* What is no TPM volume is looked at before it is opened for good. */
static int
testCopyForeignNot(virStoragePoolDef *pool,
                   const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageVolDef) orig = testCopyVol(pool, "one", NULL, NULL);
    g_autoptr(virStorageVolDef) vol = testCopyVol(pool, "two", NULL, NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    VIR_AUTOCLOSE fd = -1;

    if ((copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_SYSTEM_ERROR, "cannot open '") < 0)
        return -1;

    if (mkfifo(orig->target.path, 0600) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "neither a regular file nor a block device") < 0)
        return -1;

    if (unlink(orig->target.path) < 0 || mkdir(orig->target.path, 0700) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "neither a regular file nor a block device") < 0)
        return -1;

    if (rmdir(orig->target.path) < 0 ||
        (fd = open(orig->target.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0 ||
        ftruncate(fd, VIR_TPM_STATE_MAX_SIZE + 1) < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)) ||
        testExpectError(VIR_ERR_OPERATION_INVALID, "has 16777217 bytes") < 0)
        return -1;

    /* a file of that name is not the volume of an rbd or gluster pool */
    orig->type = VIR_STORAGE_VOL_NETWORK;
    if ((copy = virStorageTPMCopy(pool, vol, orig)))
        return -1;

    return testExpectError(VIR_ERR_OPERATION_UNSUPPORTED,
                           "it is of type 'network' and not a file or block device of this host");
}


#define DO_COPY_FULL(name, func, ...) \
    do { \
        const testCopyData copy_ = { __VA_ARGS__ }; \
        if (virTestRun("copy: " name, func, &copy_) < 0) \
            ret = -1; \
    } while (0)

#define DO_COPY(name, fixture, how, from, source, to, asked, learned, data) \
    DO_COPY_FULL(name, testCopyFake, fixture, TEST_SOURCE_ ## how, from, source, to, asked, \
                 learned, 0, NULL, { NULL, data, NULL, false })

#define DO_COPY_NOT(name, fixture, from, source, to, asked, data, code, error) \
    DO_COPY_FULL(name, testCopyFake, fixture, TEST_SOURCE_LINEAR, from, source, to, asked, \
                 NULL, VIR_ERR_ ## code, error, { NULL, data, NULL, false })

#define UUID "<uuid>0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f</uuid>"
#define TPM(inner) "<tpm>" inner "</tpm>"
#define BANK(name) "<active_pcr_banks><" name "/></active_pcr_banks>"
#define EK(fingerprint) "<endorsement key='rsa2048' fingerprint='" fingerprint "'/>"

static int
testCopies(void)
{
    int ret = 0;

    DO_COPY("as it is", "tpm2", LINEAR, CLEAR, TPM(UUID), CLEAR, NULL, "sha256; ",
            SUCCESS " " BANKS);
    DO_COPY("keys are learned", "tpm2", LINEAR, CLEAR, TPM(UUID), CLEAR, NULL,
            "sha256; rsa2048 " FINGERPRINT_RSA " +; ",
            SUCCESS " " BANKS " " START " " SLOT(CERT_RSA2048, RSA2048));
    DO_COPY("the key that is described", "tpm2", LINEAR, CLEAR, TPM(BANK("sha1") EK(FINGERPRINT_RSA)),
            CLEAR, NULL, "sha1; rsa2048 " FINGERPRINT_RSA " +; ",
            SUCCESS " " BANKS " " START " " SLOT(CERT_RSA2048, RSA2048));
    DO_COPY("a key that is not known", "tpm2", LINEAR, CLEAR, TPM(EK(FINGERPRINT_RSA)),
            CLEAR, NULL, "sha256; rsa2048 " FINGERPRINT_RSA " +; ", SUCCESS " " BANKS);
    DO_COPY("the banks that are asked for", "tpm2", LINEAR, CLEAR, TPM(BANK("sha256")),
            CLEAR, TPM(BANK("sha256")), "sha256; ", NULL);
    DO_COPY("encrypted", "tpm2-encrypted", LINEAR, "first", "<tpm version='2.0'/>", "first", NULL,
            "sha256; ", SUCCESS " " BANKS);
    DO_COPY("TPM 1.2 is not asked", "tpm12", LINEAR, CLEAR, NULL, CLEAR, NULL, "; ",
            SUCCESS " " BANKS);

    DO_COPY("import", "tpm2", LINEAR, FOREIGN, NULL, CLEAR, NULL,
            "sha256; rsa2048 " FINGERPRINT_RSA "; ", SUCCESS " " BANKS " " START " " BARE(RSA2048));
    DO_COPY("import with the banks that it has", "tpm2", LINEAR, FOREIGN, NULL, CLEAR,
            TPM(BANK("sha256")), "sha256; ", SUCCESS " " BANKS);
    DO_COPY("import of a padded file", "tpm2", PADDED, FOREIGN, NULL, CLEAR, NULL, "; ", NULL);
    DO_COPY("import of a blob", "tpm2", BLOB, FOREIGN, NULL, CLEAR, NULL, "; ", NULL);
    DO_COPY("import of an encrypted file", "tpm2-encrypted", LINEAR, FOREIGN, NULL, "first", NULL,
            "; ", NULL);

    return ret;
}


static int
testCopiesRefused(void)
{
    int ret = 0;

    DO_COPY_NOT("of nothing", "", CLEAR, NULL, CLEAR, NULL, NULL, OPERATION_INVALID,
                "TPM volume 'one' of pool 'tpmpool' is blank");
    DO_COPY_NOT("of a clear volume with a secret", "tpm2", "first", NULL, CLEAR, NULL, NULL,
                CONFIG_UNSUPPORTED, "TPM volume 'one' of pool 'tpmpool' has a secret, but");
    DO_COPY_NOT("of an encrypted volume without a secret", "tpm2-encrypted", CLEAR, NULL, CLEAR, NULL,
                NULL, CONFIG_UNSUPPORTED, "TPM volume 'one' of pool 'tpmpool' is encrypted, but");
    DO_COPY_NOT("of another version", "tpm2", CLEAR, NULL, CLEAR, "<tpm version='1.2'/>", NULL,
                CONFIG_UNSUPPORTED, "TPM volume 'two' cannot have version 1.2, as 'one' holds a TPM of version 2.0");
    DO_COPY_NOT("with other banks", "tpm2", CLEAR, TPM(BANK("sha1")), CLEAR, TPM(BANK("sha256")),
                NULL, CONFIG_UNSUPPORTED, "PCR banks of TPM volume 'two' cannot differ from those of 'one'");
    DO_COPY_NOT("with another profile", "tpm2", CLEAR, TPM("<profile source='a'/>"), CLEAR,
                TPM("<profile source='b'/>"), NULL, CONFIG_UNSUPPORTED,
                "profile of TPM volume 'two' cannot differ");
    DO_COPY_NOT("with a profile", "tpm2", CLEAR, NULL, CLEAR, TPM("<profile source='b'/>"), NULL,
                CONFIG_UNSUPPORTED, "profile of TPM volume 'two' cannot differ");
    DO_COPY_NOT("of another TPM", "tpm2", CLEAR, TPM(EK(FINGERPRINT_EC)), CLEAR, NULL,
                SUCCESS " " BANKS " " START " " BARE(RSA2048), OPERATION_INVALID,
                "endorsement key rsa2048 has fingerprint " FINGERPRINT_RSA ", expected " FINGERPRINT_EC);
    DO_COPY_NOT("import with other banks", "tpm2", FOREIGN, NULL, CLEAR, TPM(BANK("sha1")),
                SUCCESS " " BANKS, CONFIG_UNSUPPORTED, "cannot differ from those of the imported TPM");
    DO_COPY_NOT("import of another version", "tpm12", FOREIGN, NULL, CLEAR, "<tpm version='2.0'/>",
                NULL, CONFIG_UNSUPPORTED, "holds a TPM of version 1.2");
    DO_COPY_NOT("import of nothing", "", FOREIGN, NULL, CLEAR, NULL, NULL, OPERATION_INVALID,
                "as TPM volume 'two', as its content is 'blank'");
    DO_COPY_NOT("import of an encrypted file, without a secret", "tpm2-encrypted", FOREIGN, NULL,
                CLEAR, NULL, NULL, CONFIG_UNSUPPORTED, "is encrypted, but TPM volume 'two' has no secret");
    DO_POOL("copy: import of what is no file", testCopyForeignNot);

    return ret;
}


#define DO_CONVERT_NOT(name, control, data, log, code, error) \
    DO_COPY_FULL(name, testCopyFake, "tpm2", TEST_SOURCE_LINEAR, CLEAR, NULL, "first", NULL, \
                 NULL, VIR_ERR_ ## code, error, \
                 { control, data, log, VIR_ERR_ ## code == VIR_ERR_OPERATION_TIMEOUT })

#define STATEBLOB DONE FLAGS "00000003" "00000003" "616263"

/* The source's and the target's swtpm get the same answers. */
static int
testConversionsNot(void)
{
    int ret = 0;

    DO_CONVERT_NOT("source cannot be opened", "2:" FAILED, NULL, "first\n", OPERATION_FAILED,
                   "cannot start the TPM on volume 'one' of pool 'tpmpool': first");
    DO_CONVERT_NOT("source does not tell its state", "12:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "did not execute CMD_GET_STATEBLOB");
    DO_CONVERT_NOT("source hangs", DONE " hang", NULL, NULL, OPERATION_TIMEOUT,
                   "TPM volume 'one' of pool 'tpmpool' did not answer CMD_GET_STATEBLOB");
    DO_COPY_FULL("secret missing", testCopyFake, "tpm2", TEST_SOURCE_LINEAR, CLEAR, NULL,
                 "missing", NULL, NULL, VIR_ERR_NO_SECRET,
                 "secret usage='missing' of TPM volume 'two' of pool 'tpmpool'",
                 { "12:" STATEBLOB, NULL, NULL, false });
    DO_CONVERT_NOT("target does not take the state", "12:" STATEBLOB " 13:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "volume 'two' of pool 'tpmpool': swtpm did not execute CMD_SET_STATEBLOB");
    DO_CONVERT_NOT("target does not end", "12:" STATEBLOB " 3:" FAILED, NULL, NULL,
                   OPERATION_FAILED, "volume 'two' of pool 'tpmpool': swtpm did not execute CMD_SHUTDOWN");
    DO_CONVERT_NOT("target writes nothing", "12:" STATEBLOB, NULL, NULL,
                   INTERNAL_ERROR, "swtpm did not convert the state for TPM volume 'two' of pool 'tpmpool'");

    return ret;
}


/* The real swtpm. */

/* Returns the permanent state that swtpm finds in a file of state. */
static char *
testPermanent(const virStorageTPMBytes *bytes)
{
    const virStorageTPMHelperSpec spec = {
        "tpmpool", "guest1", VIR_DOMAIN_TPM_VERSION_2_0, NULL
    };
    g_autoptr(virStorageTPMBytes) blob = virStorageTPMHelperDecrypt(&spec, bytes);

    if (!blob)
        return NULL;

    return testToHex(blob->data, blob->len);
}


/* What a file of state becomes under another secret: it stands in it then. */
static int
testConvert(virStoragePoolDef *pool,
            const char *from,
            const char *to)
{
    g_autoptr(virStorageVolDef) orig = testCopyVol(pool, "one", from, TPM(UUID));
    g_autoptr(virStorageVolDef) vol = testCopyVol(pool, "two", to, NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;
    virTPMState state;

    virStorageTPMCopySetSource(orig, "tpmpool");

    if (!(copy = virStorageTPMCopy(pool, vol, orig)) ||
        !vol->tpm->hasuuid ||
        memcmp(vol->tpm->uuid, orig->tpm->uuid, VIR_UUID_BUFLEN) != 0) {
        testExpectNoError();
        return -1;
    }

    virTPMStateProbeBytes(copy->data, copy->len, &state);
    testWrite(orig->target.path, copy);
    return state.kind == VIR_TPM_STATE_LINEAR && state.encrypted == !!to ? 0 : -1;
}


/* Returns what swtpm finds in the volume that is converted. */
static char *
testConverted(virStoragePoolDef *pool)
{
    g_autofree char *path = testPath(pool, "one");
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || !(bytes = virStorageTPMBytesRead(fd, path)))
        return NULL;

    return testPermanent(bytes);
}


/* After each conversion, only the secret differs. The first one powers the TPM
 * on for the first time, which puts the PCR banks of its manufacture in force. */
static int
testConvertChain(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autofree char *path = testPath(pool, "one");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    if (!testUseReal())
        return EXIT_AM_SKIP;

    testWrite(path, bytes);

    if (testConvert(pool, NULL, "first") < 0 ||
        testConvert(pool, "first", NULL) < 0 ||
        !(before = testConverted(pool)))
        return -1;

    if (testConvert(pool, NULL, "first") < 0 ||
        testConvert(pool, "first", "second") < 0 ||
        testConvert(pool, "second", NULL) < 0 ||
        !(after = testConverted(pool)))
        return -1;

    return virTestCompareToString(before, after);
}


static int
testConvertWrong(virStoragePoolDef *pool,
                 const char *arg G_GNUC_UNUSED)
{
    g_autoptr(virStorageTPMBytes) bytes = testState("tpm2");
    g_autofree char *path = testPath(pool, "one");
    g_autoptr(virStorageVolDef) orig = testCopyVol(pool, "one", "second", NULL);
    g_autoptr(virStorageVolDef) vol = testCopyVol(pool, "two", "second", NULL);
    g_autoptr(virStorageTPMBytes) copy = NULL;

    if (!testUseReal())
        return EXIT_AM_SKIP;

    testWrite(path, bytes);
    virStorageTPMCopySetSource(orig, "tpmpool");

    if (testConvert(pool, NULL, "first") < 0 ||
        (copy = virStorageTPMCopy(pool, vol, orig)))
        return -1;

    return testExpectError(VIR_ERR_AUTH_FAILED,
                           "wrong passphrase for TPM volume 'one' of pool 'tpmpool'");
}


#define REAL_KEYS "rsa2048 " FINGERPRINT_TPM2_RSA "; secp384r1 " FINGERPRINT_TPM2_EC "; "

#define DO_REAL(name, fixture, how, from, to, learned) \
    DO_COPY_FULL(name ", by the real swtpm", testCopyReal, fixture, TEST_SOURCE_ ## how, \
                 from, NULL, to, NULL, learned, 0, NULL, { NULL, NULL, NULL, false })

static int
testReal(void)
{
    int ret = 0;

    DO_REAL("as it is", "tpm2", LINEAR, CLEAR, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import", "tpm2", PADDED, FOREIGN, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import of a blob", "tpm2", BLOB, FOREIGN, CLEAR, "sha256; " REAL_KEYS);
    DO_REAL("import and encrypt", "tpm2", BLOB, FOREIGN, "first", "sha256; " REAL_KEYS);
    DO_COPY_FULL("wrong passphrase, by the real swtpm", testCopyReal, "tpm2-encrypted",
                 TEST_SOURCE_LINEAR, FOREIGN, NULL, "second", NULL, NULL,
                 VIR_ERR_AUTH_FAILED, "wrong passphrase for TPM volume 'two' of pool 'tpmpool'",
                 { NULL, NULL, NULL, false });
    DO_POOL("convert there and back", testConvertChain);
    DO_POOL("convert with a wrong passphrase", testConvertWrong);

    return ret;
}


static int
mymain(void)
{
    g_autoptr(virConnect) conn = virGetConnect();
    int ret = 0;

    if (!conn)
        return EXIT_FAILURE;

    /* as in the daemon */
    signal(SIGPIPE, SIG_IGN);

    testUseSecrets(conn);
    ignore_value(testUseRunDir());

    if (testCopies() < 0)
        ret = -1;
    if (testCopiesRefused() < 0)
        ret = -1;
    if (testConversionsNot() < 0)
        ret = -1;
    if (testReal() < 0)
        ret = -1;

    virSetConnectSecret(NULL);

    if (testRunDirRemove() < 0)
        ret = -1;
    return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

VIR_TEST_MAIN(mymain)
