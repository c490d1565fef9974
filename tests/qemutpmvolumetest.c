/*
 * qemutpmvolumetest.c: how swtpm is started on a storage volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The domain that refers to a volume, and the file that is found for it: how it is locked,
 * checked and handed to swtpm, and what is reported where that cannot be done.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "testutils.h"
#include "testutilsqemu.h"

#ifdef F_OFD_SETLK

# include "datatypes.h"
# include "conf/domain_conf_tpm.h"
# include "qemu/qemu_domain.h"
# include "storage_vol_tpm.h"
# include "storage_vol_tpm_use.h"
# include "virofdlock.h"
# define LIBVIRT_QEMU_TPM_VOLUMEPRIV_H_ALLOW
# include "qemu/qemu_tpm_volumepriv.h"
# include "virfile.h"
# include "virtpm.h"
# include "virtpmsecret.h"

# define VIR_FROM_THIS VIR_FROM_QEMU

# define TEST_PASSPHRASE_FD 25

static virQEMUDriver driver;

typedef struct _testVolume testVolume;
struct _testVolume {
    const char *fixture; /* what is on the volume; NULL: it is blank */
    bool secret;         /* the volume has one */
    bool shared;         /* on a file system that other hosts see */
    bool incoming;       /* the guest comes from another host */
    virTristateBool encrypted; /* what that host's cookie says of the state */
    bool busy;           /* something else has the volume's lock */
    bool used;           /* another swtpm uses the volume, and has no lock right now */
    bool handover;       /* swtpm can hand its own lock over to another host */
    const char *described; /* the volume's <tpm> when it is locked; NULL: as before */
    const char *moved;   /* and its path; NULL: as before */
    bool othersecret;    /* and it has another secret */
    const char *arguments;
    const char *error;   /* what an error says, in place of arguments */
};


/* What the storage driver says. */
static const testVolume *testCurrent;
static const char *testPath;


static virStoragePoolPtr
testStoragePoolLookupByName(virConnectPtr conn,
                            const char *name)
{
    const unsigned char uuid[VIR_UUID_BUFLEN] = { 1 };

    return virGetStoragePool(conn, name, uuid, NULL, NULL);
}


static int
testStoragePoolIsActive(virStoragePoolPtr pool G_GNUC_UNUSED)
{
    return 1;
}


static char *
testStoragePoolGetXMLDesc(virStoragePoolPtr pool,
                          unsigned int fakeflags G_GNUC_UNUSED)
{
    return g_strdup_printf("<pool type='tpm'><name>%s</name>"
                           "<target><path>/pool</path></target></pool>", pool->name);
}


static virStorageVolPtr
testStorageVolLookupByName(virStoragePoolPtr pool,
                           const char *name)
{
    return virGetStorageVol(pool->conn, pool->name, name, testPath, NULL, NULL);
}


static char *
testStorageVolGetXMLDesc(virStorageVolPtr vol,
                         unsigned int fakeflags G_GNUC_UNUSED)
{
    const char *encryption = "<encryption format='vtpm'><secret type='passphrase'"
        " uuid='00000000-0000-0000-0000-000000000000'/></encryption>";
    const char *other = "<encryption format='vtpm'><secret type='passphrase'"
        " uuid='3f1f8a2e-6c0b-4a57-9d0e-0f6a5b1c2d3e'/></encryption>";

    return g_strdup_printf("<volume type='file'><name>%s</name><target><path>%s</path>"
                           "<format type='raw'/>%s</target>%s</volume>",
                           vol->name,
                           testCurrent->moved ? testCurrent->moved : testPath,
                           testCurrent->othersecret ? other :
                           testCurrent->secret ? encryption : "",
                           testCurrent->described ? testCurrent->described : "");
}


static virStorageDriver testStorageDriver = {
    .storagePoolLookupByName = testStoragePoolLookupByName,
    .storagePoolIsActive = testStoragePoolIsActive,
    .storagePoolGetXMLDesc = testStoragePoolGetXMLDesc,
    .storageVolLookupByName = testStorageVolLookupByName,
    .storageVolGetXMLDesc = testStorageVolGetXMLDesc,
};


/* No swtpm is run: there need not be one. */
char *
virTPMGetSwtpm(void)
{
    return g_strdup("swtpm");
}


int
virTPMSecretAddFD(virCommand *cmd G_GNUC_UNUSED,
                  const virSecretLookupTypeDef *lookup G_GNUC_UNUSED,
                  const char *pool G_GNUC_UNUSED,
                  const char *vol G_GNUC_UNUSED,
                  int *second)
{
    *second = TEST_PASSPHRASE_FD;
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
    const testVolume described = { .secret = test->secret };

    testCurrent = &described;
    testPath = path;

    if (!(vm->def = virDomainDefParseFile(file, driver.xmlopt, NULL, 0)) ||
        !(priv->qemuCaps = virQEMUCapsCacheLookup(driver.qemuCapsCache, vm->def->emulator)) ||
        qemuTPMVolumePrepareDomain(vm->def, true) < 0)
        return NULL;

    testCurrent = test;
    vm->def->tpms[0]->data.emulator.logfile = g_strdup("/dev/null");

    return g_steal_pointer(&vm);
}


/* Whether, from the moment when a program is started in place of swtpm, nobody
 * else gets the lock, not even to read, and in the end the program has one that the byte at
 * @start belongs to: a POSIX one, by which alone a process is named, if swtpm is to have
 * that. */
static int
testLockOfProgram(virCommand *cmd,
                  const char *path,
                  off_t start,
                  bool posix)
{
    VIR_AUTOCLOSE fd = open(path, O_RDWR);
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    struct flock fl = { .l_pid = 0 };
    pid_t pid = -1;
    int ret = -1;

    if (virCommandRunAsync(cmd, &pid) < 0)
        return -1;

    do {
        if (virOFDLockAcquire(fd) == 0 || virOFDLockAcquireShared(fd) == 0) {
            fprintf(stderr, "the lock was free for a moment\n");
            break;
        }

        fl = (struct flock) { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = start };
        if (fcntl(fd, F_GETLK, &fl) == 0 && fl.l_type == F_WRLCK &&
            fl.l_pid == (posix ? pid : -1))
            ret = 0;
    } while (ret < 0 && g_get_monotonic_time() < end);

    virCommandAbort(cmd);
    return ret;
}


/* What swtpm is told, with the volume's path shortened. A program that waits
 * runs in its place. */
static int
testStart(const testVolume *test,
          virDomainObj *vm,
          const char *path)
{
    virDomainTPMDef *tpm = vm->def->tpms[0];
    g_autofree char *program = g_strdup_printf("%s.swtpm", path);
    g_autoptr(virCommand) cmd = virCommandNew(program);
    g_autoptr(qemuTPMVolume) volume = NULL;
    g_autofree char *actual = NULL;
    g_autofree char *expected = NULL;
    bool swtpmLocks = strstr(test->arguments, ",lock");

    if (virFileWriteStr(program, "#!/bin/sh\nexec sleep 60\n", 0700) < 0)
        return -1;

    if (!(volume = qemuTPMVolumeOpenAndLock(&driver, vm, tpm, test->incoming)) ||
        qemuTPMVolumeHandToSwtpm(&driver, volume, cmd) < 0 ||
        !(actual = virCommandToString(cmd, false)))
        return -1;

    expected = virStringReplace(test->arguments, "PATH", path);
    if (STRNEQ(strchr(actual, ' ') + 1, expected)) {
        virTestDifference(stderr, expected, actual);
        return -1;
    }

    if (QEMU_DOMAIN_TPM_PRIVATE(tpm)->swtpm.can_migrate_shared_storage != swtpmLocks) {
        fprintf(stderr, "whether it can be migrated over shared storage is wrong\n");
        return -1;
    }

    /* the other host's swtpm has it */
    if (test->used)
        return 0;

    /* where hosts share a volume, each swtpm that writes has a part of the lock as its own */
    return testLockOfProgram(cmd, path, swtpmLocks ? 0 : 16 * 1024 * 1024 * 1024LL, test->shared);
}


static int
testRefusal(const testVolume *test,
            virDomainObj *vm)
{
    g_autoptr(qemuTPMVolume) volume = NULL;

    if ((volume = qemuTPMVolumeOpenAndLock(&driver, vm, vm->def->tpms[0], test->incoming))) {
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
    VIR_AUTOCLOSE use = -1;
    int ret = -1;

    if (!g_mkdtemp(dir))
        return -1;

    path = g_strdup_printf("%s/guest1", dir);
    sharedDirs[0] = test->shared ? dir : NULL;
    driver.config->sharedFilesystems = sharedDirs;
    g_setenv(TEST_TPM_ENV_VAR, test->handover ? TPM_VER_2_0 "," TPM_HANDOVER : TPM_VER_2_0, true);

    if ((vm = testDomainNew(test, path))) {
        qemuTPMVolumeSetEncryption(vm->def, test->encrypted);
        vm->job->asyncJob = test->incoming ? VIR_ASYNC_JOB_MIGRATION_IN : VIR_ASYNC_JOB_NONE;
    }

    if (vm && testWriteVolume(test->fixture, path) == 0 &&
        (!test->busy || (busy = virStorageVolTPMOpen(path, "tpm", "guest1")) >= 0) &&
        (!test->used || virStorageVolTPMUseBegin(path, &use) == 0))
        ret = test->error ? testRefusal(test, vm) : testStart(test, vm, path);

    driver.config->sharedFilesystems = NULL;
    virFileDeleteTree(dir);
    return ret;
}


/* The label of a volume is not taken away while another guest runs on it, and no
 * other can start meanwhile. The daemon may have been restarted: it knows no more than
 * the path then. */
static int
testLabel(const void *opaque G_GNUC_UNUSED)
{
    g_autofree char *file = g_strdup_printf("%s/qemutpmvolumedata/domain.xml", abs_srcdir);
    g_autofree char *dir = g_strdup("/tmp/libvirt_tpm_volume_XXXXXX");
    g_autofree char *path = NULL;
    g_autoptr(virDomainObj) vm = virDomainObjNew(driver.xmlopt);
    VIR_AUTOCLOSE other = -1;
    VIR_AUTOCLOSE fd = -1;
    int ret = -1;

    if (!g_mkdtemp(dir))
        return -1;

    path = g_strdup_printf("%s/guest1", dir);

    if ((vm->def = virDomainDefParseFile(file, driver.xmlopt, NULL, 0)))
        virDomainTPMVolumeSetPath(&vm->def->tpms[0]->data.emulator, path);

    if (vm->def &&
        testWriteVolume("tpm2", path) == 0 &&
        qemuTPMVolumePrepareMigration(vm->def) == 0 &&
        (other = virStorageVolTPMOpen(path, "tpm", "guest1")) >= 0 &&
        !qemuTPMVolumeLockUnused(vm->def, &fd)) {
        VIR_FORCE_CLOSE(fd);
        VIR_FORCE_CLOSE(other);

        if (qemuTPMVolumeLockUnused(vm->def, &fd) &&
            virStorageVolTPMOpen(path, "tpm", "guest1") < 0)
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


/* The identity is written wherever the guest's memory may be, but not into what a
 * running domain will be when it starts again. */
static int
testIdentity(const void *opaque G_GNUC_UNUSED)
{
    const struct {
        bool runs;
        unsigned int flags;
        bool written;
    } cases[] = {
        { true, 0, true },
        { true, VIR_DOMAIN_DEF_FORMAT_INACTIVE, false },
        { true, VIR_DOMAIN_DEF_FORMAT_INACTIVE | VIR_DOMAIN_DEF_FORMAT_MIGRATABLE, true },
        { true, VIR_DOMAIN_DEF_FORMAT_MIGRATABLE, true },
        { false, 0, true },
        { false, VIR_DOMAIN_DEF_FORMAT_INACTIVE, true },
    };
    const unsigned char uuid[VIR_UUID_BUFLEN] = { 1 };
    const testVolume test = { .fixture = "tpm2" };
    g_autoptr(virDomainObj) vm = testDomainNew(&test, "/pool/guest1");
    virDomainTPMEmulatorDef *emulator = vm ? &vm->def->tpms[0]->data.emulator : NULL;
    size_t i;

    if (!emulator)
        return -1;

    virDomainTPMVolumeSetIdentity(emulator, uuid);

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *xml = NULL;

        vm->def->id = cases[i].runs ? 1 : -1;
        virDomainTPMVolumeSetPath(emulator, cases[i].runs ? "/pool/guest1" : NULL);

        if (!(xml = virDomainDefFormat(vm->def, driver.xmlopt, cases[i].flags)))
            return -1;

        if (!!strstr(xml, "<source type='volume' uuid='") != cases[i].written ||
            strstr(xml, "/pool/guest1")) {
            fprintf(stderr, "case %zu: %s\n", i, xml);
            return -1;
        }
    }

    return 0;
}


static int
testVolumes(void)
{
    int ret = 0;

# define DO_TEST(name, ...) \
    do { \
        const testVolume test = { __VA_ARGS__ }; \
        if (virTestRun(name, testSwtpm, &test) < 0) \
            ret = -1; \
    } while (0)

# define STATE "--tpmstate backend-uri=file://PATH"
# define KEYS " --key pwdfd=25,mode=aes-256-cbc --migration-key pwdfd=25,mode=aes-256-cbc"

    DO_TEST("clear", .fixture = "tpm2", .arguments = STATE);
    DO_TEST("encrypted", .fixture = "tpm2-encrypted", .secret = true, .arguments = STATE KEYS);
    DO_TEST("in use", .fixture = "tpm2", .busy = true, .error = "is in use by process");
    DO_TEST("blank", .error = "is blank");
    DO_TEST("a newer swtpm", .fixture = "tpm2", .handover = true, .arguments = STATE);

# define CHANGED "changed while the guest was starting"
# define CLEAR_TARGET "is not encrypted, and cannot take the encrypted TPM of the other host"
# define IDENTITY "<tpm><uuid>3f1f8a2e-6c0b-4a57-9d0e-0f6a5b1c2d3e</uuid></tpm>"

    DO_TEST("another identity", .fixture = "tpm2", .described = IDENTITY, .error = CHANGED);
    DO_TEST("another version", .fixture = "tpm2", .described = "<tpm version='1.2'/>",
            .error = CHANGED);
    DO_TEST("another path", .fixture = "tpm2", .moved = "/elsewhere", .error = CHANGED);
    DO_TEST("another secret", .fixture = "tpm2-encrypted", .secret = true,
            .othersecret = true, .error = CHANGED);
    DO_TEST("a secret", .fixture = "tpm2", .othersecret = true, .error = CHANGED);

    DO_TEST("incoming", .fixture = "tpm2", .incoming = true, .arguments = STATE);
    DO_TEST("incoming to blank", .incoming = true, .arguments = STATE);
    DO_TEST("incoming to blank, encrypted", .incoming = true, .secret = true,
            .arguments = STATE KEYS);
    DO_TEST("incoming, encrypted there", .fixture = "tpm2", .incoming = true,
            .encrypted = VIR_TRISTATE_BOOL_YES, .error = CLEAR_TARGET);
    DO_TEST("incoming to blank, encrypted there", .incoming = true,
            .encrypted = VIR_TRISTATE_BOOL_YES, .error = CLEAR_TARGET);
    DO_TEST("incoming to blank, encrypted here", .incoming = true, .secret = true,
            .encrypted = VIR_TRISTATE_BOOL_NO, .arguments = STATE KEYS);
    DO_TEST("incoming to blank, encrypted on both", .incoming = true, .secret = true,
            .encrypted = VIR_TRISTATE_BOOL_YES, .arguments = STATE KEYS);
    DO_TEST("incoming, in use", .fixture = "tpm2", .incoming = true, .busy = true,
            .error = "is in use by process");

    return ret;
}


static int
testSharedVolumes(void)
{
    int ret = 0;

    DO_TEST("shared", .fixture = "tpm2", .shared = true, .arguments = STATE);
    DO_TEST("shared, incoming", .fixture = "tpm2", .shared = true, .incoming = true,
            .error = "capability 'tpmstate-opt-lock'");
    DO_TEST("shared, a newer swtpm", .fixture = "tpm2", .shared = true,
            .handover = true,
            .arguments = STATE ",lock --migration release-lock-outgoing");
    DO_TEST("shared, a newer swtpm, in use", .fixture = "tpm2", .shared = true, .busy = true,
            .handover = true, .error = "is in use by process");
    DO_TEST("shared, a newer swtpm, incoming", .fixture = "tpm2", .shared = true,
            .handover = true, .incoming = true, .used = true,
            .arguments = STATE ",lock --migration release-lock-outgoing,incoming");
    DO_TEST("shared, a newer swtpm, incoming from elsewhere", .fixture = "tpm2", .shared = true,
            .handover = true, .incoming = true,
            .arguments = STATE ",lock --migration release-lock-outgoing,incoming");
    DO_TEST("shared, a newer swtpm, incoming, in use by no swtpm", .fixture = "tpm2", .shared = true,
            .handover = true, .incoming = true, .busy = true, .error = "is in use by process");
    DO_TEST("shared, a newer swtpm, used", .fixture = "tpm2", .shared = true, .used = true,
            .handover = true, .error = "is in use by process");
    DO_TEST("used", .fixture = "tpm2", .used = true, .error = "is in use by process");

    return ret;
}


static int
mymain(void)
{
    g_autoptr(GHashTable) capslatest = testQemuGetLatestCaps();
    g_autoptr(GHashTable) capscache = virHashNew(virObjectUnref);
    g_autoptr(virConnect) conn = virGetConnect();
    int ret = 0;

    conn->storageDriver = &testStorageDriver;
    virSetConnectStorage(conn);

    if (qemuTestDriverInit(&driver) < 0)
        return EXIT_FAILURE;

    qemuTestSetHostArch(&driver, VIR_ARCH_X86_64);
    driver.privileged = geteuid() == 0;
    driver.config->swtpm_user = geteuid();
    driver.config->swtpm_group = getegid();

    if (testQemuInsertRealCaps(driver.qemuCapsCache, "x86_64", "latest", "",
                               capslatest, capscache, NULL, NULL) < 0)
        return EXIT_FAILURE;

    if (testVolumes() < 0)
        ret = -1;

    if (testSharedVolumes() < 0)
        ret = -1;

    if (virTestRun("label", testLabel, NULL) < 0)
        ret = -1;

    if (virTestRun("identity", testIdentity, NULL) < 0)
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
