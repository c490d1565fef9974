/*
 * qemutpmvolumetest.c: how swtpm is started on a storage volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsqemu.h"

#ifdef F_OFD_SETLK

# include "conf/domain_conf_tpm.h"
# include "qemu/qemu_domain.h"
# include "qemu/qemu_tpm_volume.h"
# include "virfile.h"
# include "virtpm.h"
# include "virtpmsecret.h"
# include "virtpmstate.h"

# define VIR_FROM_THIS VIR_FROM_QEMU

# define TEST_PASSPHRASE_FD 25

static virQEMUDriver driver;

typedef struct _testVolume testVolume;
struct _testVolume {
    const char *fixture; /* what is on the volume; NULL: it is blank */
    bool secret;         /* the volume has one */
    bool shared;         /* on a file system that other hosts see */
    bool incoming;       /* the guest comes from another host */
    bool busy;           /* something else has the volume's lock */
    bool handover;       /* swtpm can hand its own lock over to another host */
    const char *arguments;
    const char *error;   /* what an error says, in place of arguments */
};


/* No swtpm is run: there need not be one. */
char *
virTPMGetSwtpm(void)
{
    return g_strdup("swtpm");
}


int
virTPMSecretPass(virCommand *cmd G_GNUC_UNUSED,
                 const virSecretLookupTypeDef *lookup G_GNUC_UNUSED,
                 const char *pool G_GNUC_UNUSED,
                 const char *vol G_GNUC_UNUSED)
{
    return TEST_PASSPHRASE_FD;
}


static int
testWriteVolume(const char *fixture,
                const char *path)
{
    g_autofree char *file = g_strdup_printf("%s/virtpmstatedata/%s.base64",
                                            abs_srcdir, fixture);
    g_autofree char *text = NULL;
    g_autofree unsigned char *bytes = NULL;
    gsize len;

    if (!fixture)
        return virFileTouch(path, 0600);

    if (virFileReadAll(file, 1024 * 1024, &text) < 0)
        return -1;

    bytes = g_base64_decode(text, &len);
    return g_file_set_contents(path, (char *) bytes, len, NULL) ? 0 : -1;
}


/* A domain as it is when its volume has been looked up. */
static virDomainObj *
testDomainNew(const testVolume *test,
              const char *path)
{
    g_autofree char *file = g_strdup_printf("%s/qemutpmvolumedata/domain.xml", abs_srcdir);
    g_autoptr(virDomainObj) vm = virDomainObjNew(driver.xmlopt);
    qemuDomainObjPrivate *priv = vm->privateData;
    virDomainTPMDef *tpm;

    if (!(vm->def = virDomainDefParseFile(file, driver.xmlopt, NULL, 0)) ||
        !(priv->qemuCaps = virQEMUCapsCacheLookup(driver.qemuCapsCache, vm->def->emulator)))
        return NULL;

    tpm = vm->def->tpms[0];
    tpm->data.emulator.source_path = g_strdup(path);
    tpm->data.emulator.logfile = g_strdup("/dev/null");

    if (test->secret)
        QEMU_DOMAIN_TPM_PRIVATE(tpm)->volume.secret.type = VIR_SECRET_LOOKUP_TYPE_UUID;

    return g_steal_pointer(&vm);
}


/* What swtpm is told, with the volume's path shortened. Where swtpm takes the
 * lock, it must be free by then. */
static int
testStart(const testVolume *test,
          virDomainObj *vm,
          const char *path)
{
    virDomainTPMDef *tpm = vm->def->tpms[0];
    g_autoptr(virCommand) cmd = virCommandNew("swtpm");
    g_autoptr(qemuTPMVolume) volume = NULL;
    g_autofree char *actual = NULL;
    g_autofree char *expected = virStringReplace(test->arguments, "PATH", path);
    bool swtpmLocks = strstr(test->arguments, ",lock");
    VIR_AUTOCLOSE fd = -1;

    if (qemuTPMVolumeOpen(&driver, vm, tpm, test->incoming, &volume) < 0 ||
        qemuTPMVolumePass(&driver, volume, tpm, cmd) < 0 ||
        !(actual = virCommandToString(cmd, false)))
        return -1;

    if (STRNEQ(actual, expected)) {
        virTestDifference(stderr, expected, actual);
        return -1;
    }

    if (QEMU_DOMAIN_TPM_PRIVATE(tpm)->swtpm.can_migrate_shared_storage != swtpmLocks) {
        fprintf(stderr, "whether it can be migrated over shared storage is wrong\n");
        return -1;
    }

    fd = open(path, O_RDWR);
    if (!test->busy && (virTPMStateLock(fd) == 0) != swtpmLocks) {
        fprintf(stderr, "the lock is held, or free, where it should not be\n");
        return -1;
    }

    return 0;
}


static int
testRefusal(const testVolume *test,
            virDomainObj *vm)
{
    g_autoptr(qemuTPMVolume) volume = NULL;

    if (qemuTPMVolumeOpen(&driver, vm, vm->def->tpms[0], test->incoming, &volume) == 0) {
        fprintf(stderr, "there was no error\n");
        return -1;
    }

    if (!strstr(virGetLastErrorMessage(), test->error)) {
        virTestDifference(stderr, test->error, virGetLastErrorMessage());
        return -1;
    }

    virResetLastError();
    return 0;
}


static int
testSwtpm(const void *opaque)
{
    const testVolume *test = opaque;
    g_autofree char *dir = g_strdup("/tmp/libvirt_tpm_volume_XXXXXX");
    g_autofree char *path = NULL;
    g_autoptr(virDomainObj) vm = NULL;
    char *sharedDirs[] = { NULL, NULL };
    VIR_AUTOCLOSE busy = -1;
    int ret = -1;

    if (!g_mkdtemp(dir))
        return -1;

    path = g_strdup_printf("%s/guest1", dir);
    sharedDirs[0] = test->shared ? dir : NULL;
    driver.config->sharedFilesystems = sharedDirs;
    g_setenv(TEST_TPM_ENV_VAR, test->handover ? TPM_VER_2_0 "," TPM_HANDOVER : TPM_VER_2_0, true);

    if ((vm = testDomainNew(test, path)) &&
        testWriteVolume(test->fixture, path) == 0 &&
        (!test->busy || (busy = virTPMStateOpen(path, "tpm", "guest1")) >= 0))
        ret = test->error ? testRefusal(test, vm) : testStart(test, vm, path);

    driver.config->sharedFilesystems = NULL;
    virFileDeleteTree(dir);
    return ret;
}


/* The label of a volume is not taken away while another guest runs on it, and no
 * other can start meanwhile. */
static int
testLabel(const void *opaque G_GNUC_UNUSED)
{
    const testVolume test = { .fixture = "tpm2" };
    g_autofree char *dir = g_strdup("/tmp/libvirt_tpm_volume_XXXXXX");
    g_autofree char *path = NULL;
    g_autoptr(virDomainObj) vm = NULL;
    VIR_AUTOCLOSE other = -1;
    VIR_AUTOCLOSE fd = -1;
    int ret = -1;

    if (!g_mkdtemp(dir))
        return -1;

    path = g_strdup_printf("%s/guest1", dir);

    if ((vm = testDomainNew(&test, path)) &&
        testWriteVolume(test.fixture, path) == 0 &&
        (other = virTPMStateOpen(path, "tpm", "guest1")) >= 0 &&
        !qemuTPMVolumeMayRestoreLabel(vm->def, &fd)) {
        VIR_FORCE_CLOSE(fd);
        VIR_FORCE_CLOSE(other);

        if (qemuTPMVolumeMayRestoreLabel(vm->def, &fd) &&
            virTPMStateOpen(path, "tpm", "guest1") < 0)
            ret = 0;
    }

    virResetLastError();
    virFileDeleteTree(dir);
    return ret;
}


/* A driver that says nothing of TPM volumes. */
static int
testOtherDriver(const void *opaque G_GNUC_UNUSED)
{
    virDomainDefParserConfig config = { 0 };
    g_autoptr(virDomainXMLOption) xmlopt = virDomainXMLOptionNew(&config, NULL, NULL, NULL, NULL, NULL);
    g_autofree char *file = g_strdup_printf("%s/genericxml2xmlindata/tpm-volume.xml", abs_srcdir);
    g_autoptr(virDomainDef) def = virDomainDefParseFile(file, xmlopt, NULL, 0);

    if (def || !strstr(virGetLastErrorMessage(), "driver does not support a TPM on a storage volume")) {
        virTestDifference(stderr, "an error", virGetLastErrorMessage());
        return -1;
    }

    virResetLastError();
    return 0;
}


static int
mymain(void)
{
    g_autoptr(GHashTable) capslatest = testQemuGetLatestCaps();
    g_autoptr(GHashTable) capscache = virHashNew(virObjectUnref);
    int ret = 0;

    if (qemuTestDriverInit(&driver) < 0)
        return EXIT_FAILURE;

    qemuTestSetHostArch(&driver, VIR_ARCH_X86_64);

    if (testQemuInsertRealCaps(driver.qemuCapsCache, "x86_64", "latest", "",
                               capslatest, capscache, NULL, NULL) < 0)
        return EXIT_FAILURE;

# define DO_TEST(name, ...) \
    do { \
        const testVolume test = { __VA_ARGS__ }; \
        if (virTestRun(name, testSwtpm, &test) < 0) \
            ret = -1; \
    } while (0)

# define STATE "swtpm --tpmstate backend-uri=file://PATH"
# define KEYS " --key pwdfd=25,mode=aes-256-cbc --migration-key pwdfd=25,mode=aes-256-cbc"

    DO_TEST("clear", .fixture = "tpm2", .arguments = STATE);
    DO_TEST("encrypted", .fixture = "tpm2-encrypted", .secret = true, .arguments = STATE KEYS);
    DO_TEST("in use", .fixture = "tpm2", .busy = true, .error = "is in use by process");
    DO_TEST("blank", .error = "is blank");
    DO_TEST("a newer swtpm", .fixture = "tpm2", .handover = true, .arguments = STATE);

    DO_TEST("incoming", .fixture = "tpm2", .incoming = true, .arguments = STATE);
    DO_TEST("incoming to blank", .incoming = true, .arguments = STATE);
    DO_TEST("incoming to blank, encrypted", .incoming = true, .secret = true,
            .arguments = STATE KEYS);
    DO_TEST("incoming, in use", .fixture = "tpm2", .incoming = true, .busy = true,
            .error = "is in use by process");

    DO_TEST("shared", .fixture = "tpm2", .shared = true, .arguments = STATE);
    DO_TEST("shared, incoming", .fixture = "tpm2", .shared = true, .incoming = true,
            .error = "it needs the capability 'tpmstate-opt-lock'");
    DO_TEST("shared, a newer swtpm", .fixture = "tpm2", .shared = true,
            .handover = true,
            .arguments = STATE ",lock --migration release-lock-outgoing");
    DO_TEST("shared, a newer swtpm, in use", .fixture = "tpm2", .shared = true, .busy = true,
            .handover = true, .error = "is in use by process");
    DO_TEST("shared, a newer swtpm, incoming", .fixture = "tpm2", .shared = true,
            .handover = true, .incoming = true, .busy = true,
            .arguments = STATE ",lock --migration release-lock-outgoing,incoming");

    if (virTestRun("label", testLabel, NULL) < 0)
        ret = -1;

    if (virTestRun("a driver without TPM volumes", testOtherDriver, NULL) < 0)
        ret = -1;

    qemuTestDriverFree(&driver);

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
