/*
 * qemu_tpm_path.c: keep domains from volumes of tpm pools that are named by a path
 *
 * A volume is used by <storage> of a <tpm>, and deleted by the storage driver. Whatever
 * else a domain names by a path is looked at before it is opened, given to QEMU's user,
 * or removed: a disk, character device, shared directory, firmware file and so on. It
 * is refused, or stays, if it is a volume.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datatypes.h"
#include "qemu_domain.h"
#include "qemu_tpm_path.h"
#include "qemu_tpm_path_find.h"
#include "qemu_tpm_path_lock.h"
#include "storage_conf.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_path");


/* Returns what tells that @canon, a path without symbolic links, may be a volume, or
 * a directory with one somewhere below it, whatever the storage driver knows; NULL if
 * nothing does. */
static const char *
qemuTPMPathFindSign(const char *canon)
{
    g_autoptr(DIR) dir = NULL;
    const char *sign = NULL;
    struct dirent *ent;
    struct stat st = { 0 };

    /* a link in a directory is not followed when that is removed */
    if (lstat(canon, &st) == 0 && S_ISLNK(st.st_mode))
        return NULL;

    if (qemuTPMPathIsDescribed(canon))
        return "it is described as a TPM volume";

    if (S_ISREG(st.st_mode))
        return (st.st_size == 0 || qemuTPMPathIsState(canon)) && qemuTPMPathIsLocked(canon) ?
            "it is locked like TPM state in use" : NULL;

    if (!S_ISDIR(st.st_mode) || virDirOpenQuiet(&dir, canon) < 0)
        return NULL;

    while (!sign && virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *path = g_build_filename(canon, ent->d_name, NULL);

        sign = qemuTPMPathFindSign(path);
    }

    return sign;
}


/* Whether @path, which is @canon without symbolic links and about to be removed, has
 * to stay: @place tells that it is in a pool, or it may be in one that is not defined
 * any more or cannot be looked at. */
static bool
qemuTPMPathHasToStay(const char *path,
                     const char *canon,
                     const qemuTPMPathPlace *place)
{
    const char *sign = NULL;

    if (place->pool) {
        VIR_WARN("'%s' is not removed: it is in storage pool '%s' of type 'tpm'",
                 path, place->pool);
        return true;
    }

    if (!(sign = qemuTPMPathFindSign(canon)))
        return false;

    VIR_WARN("'%s' is not removed: %s", path, sign);
    return true;
}


/* Returns the file or directory of the user's choice that a TPM keeps its state in,
 * or NULL. */
static const char *
qemuTPMPathGetSource(const virDomainTPMDef *tpm)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;

    if (tpm->type != VIR_DOMAIN_TPM_TYPE_EMULATOR ||
        (emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_FILE &&
         emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_DIR))
        return NULL;

    return emulator->source_path;
}


static int
qemuTPMPathCheckTPM(const virDomainDef *def,
                    const virDomainTPMDef *tpm)
{
    const char *path = qemuTPMPathGetSource(tpm);
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon || !qemuTPMPathFindOrGuess(path, canon, &place))
        return 0;

    if (place.volume) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%4$s' cannot use '%1$s', which belongs to TPM volume '%2$s' of pool '%3$s': use <storage pool='%3$s' volume='%2$s'/> instead of <source>"),
                       path, place.volume, place.pool, def->name);
    } else {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%2$s' cannot use '%1$s', which belongs to a storage pool of type 'tpm': use <storage> instead of <source>"),
                       path, def->name);
    }

    return -1;
}


bool
qemuTPMPathHoldsVolume(const char *path)
{
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon)
        return false;

    ignore_value(qemuTPMPathFindVolume(path, canon, &place));
    return qemuTPMPathHasToStay(path, canon, &place);
}


int
qemuTPMPathRemove(const char *path)
{
    if (!qemuTPMPathHoldsVolume(path))
        return unlink(path);

    errno = EPERM;
    return -1;
}


/* Reports that only a TPM can use what is at @place. */
static void
qemuTPMPathReport(const char *path,
                  const qemuTPMPathPlace *place)
{
    if (place->volume) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%1$s' belongs to TPM volume '%2$s' of pool '%3$s', which only the TPM of a domain can use"),
                       path, place->volume, place->pool);
    } else {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%1$s' belongs to a storage pool of type 'tpm', whose volumes only the TPM of a domain can use"),
                       path);
    }
}


static int
qemuTPMPathCheckFile(const char *path)
{
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon || !qemuTPMPathFindVolume(path, canon, &place))
        return 0;

    qemuTPMPathReport(path, &place);
    return -1;
}


/* A directory that a guest shares, which may get volumes while it runs. One above that of
 * a pool is the administrator's choice. */
static int
qemuTPMPathCheckDir(const char *path)
{
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon || !qemuTPMPathFindOrGuess(path, canon, &place) || place.above)
        return 0;

    qemuTPMPathReport(path, &place);
    return -1;
}


int
qemuTPMPathCheckOpen(const char *path,
                     int oflags)
{
    if ((oflags & O_ACCMODE) == O_RDONLY)
        return 0;

    return qemuTPMPathCheckFile(path);
}


int
qemuTPMPathCheckSource(const virStorageSource *src,
                       bool chain)
{
    for (; virStorageSourceIsBacking(src); src = chain ? src->backingStore : NULL) {
        if (src->dataFileStore && qemuTPMPathCheckSource(src->dataFileStore, false) < 0)
            return -1;

        if (virStorageSourceIsLocalStorage(src) && qemuTPMPathCheckFile(src->path) < 0)
            return -1;

        /* given to nbdkit's user */
        if (qemuTPMPathCheckFile(src->ssh_keyfile) < 0 ||
            qemuTPMPathCheckFile(src->ssh_known_hosts_file) < 0)
            return -1;
    }

    return 0;
}


/* QEMU opens a pair of pipes where there is one, and else what has the path
 * itself. */
static int
qemuTPMPathCheckPipe(const char *path)
{
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);

    if (qemuTPMPathCheckFile(in) < 0 || qemuTPMPathCheckFile(out) < 0)
        return -1;

    return qemuTPMPathCheckFile(path);
}


static int
qemuTPMPathCheckChardev(virDomainDeviceDef *dev G_GNUC_UNUSED,
                        virDomainChrSourceDef *chardev,
                        void *opaque G_GNUC_UNUSED)
{
    if (qemuTPMPathCheckFile(chardev->logfile) < 0)
        return -1;

    switch ((virDomainChrType) chardev->type) {
    case VIR_DOMAIN_CHR_TYPE_DEV:
    case VIR_DOMAIN_CHR_TYPE_FILE:
        return qemuTPMPathCheckFile(chardev->data.file.path);

    case VIR_DOMAIN_CHR_TYPE_PIPE:
        return qemuTPMPathCheckPipe(chardev->data.file.path);

    case VIR_DOMAIN_CHR_TYPE_UNIX:
        return qemuTPMPathCheckFile(chardev->data.nix.path);

    case VIR_DOMAIN_CHR_TYPE_NULL:
    case VIR_DOMAIN_CHR_TYPE_VC:
    case VIR_DOMAIN_CHR_TYPE_PTY:
    case VIR_DOMAIN_CHR_TYPE_STDIO:
    case VIR_DOMAIN_CHR_TYPE_UDP:
    case VIR_DOMAIN_CHR_TYPE_TCP:
    case VIR_DOMAIN_CHR_TYPE_SPICEVMC:
    case VIR_DOMAIN_CHR_TYPE_SPICEPORT:
    case VIR_DOMAIN_CHR_TYPE_NMDM:
    case VIR_DOMAIN_CHR_TYPE_QEMU_VDAGENT:
    case VIR_DOMAIN_CHR_TYPE_DBUS:
    case VIR_DOMAIN_CHR_TYPE_LAST:
        break;
    }

    return 0;
}


static int
qemuTPMPathCheckGraphics(const virDomainGraphicsDef *graphics)
{
    size_t i;

    for (i = 0; i < graphics->nListens; i++) {
        if (qemuTPMPathCheckFile(graphics->listens[i].socket) < 0)
            return -1;
    }

    return qemuTPMPathCheckFile(virDomainGraphicsGetRenderNode(graphics));
}


static int
qemuTPMPathCheckMemory(const virDomainMemoryDef *mem)
{
    switch (mem->model) {
    case VIR_DOMAIN_MEMORY_MODEL_NVDIMM:
        return qemuTPMPathCheckFile(mem->source.nvdimm.path);

    case VIR_DOMAIN_MEMORY_MODEL_VIRTIO_PMEM:
        return qemuTPMPathCheckFile(mem->source.virtio_pmem.path);

    case VIR_DOMAIN_MEMORY_MODEL_NONE:
    case VIR_DOMAIN_MEMORY_MODEL_DIMM:
    case VIR_DOMAIN_MEMORY_MODEL_VIRTIO_MEM:
    case VIR_DOMAIN_MEMORY_MODEL_SGX_EPC:
    case VIR_DOMAIN_MEMORY_MODEL_LAST:
        break;
    }

    return 0;
}


static int
qemuTPMPathCheckAudio(const virDomainAudioDef *audio)
{
    if (audio->type != VIR_DOMAIN_AUDIO_TYPE_FILE)
        return 0;

    return qemuTPMPathCheckFile(audio->backend.file.path);
}


static int
qemuTPMPathCheckSmartcard(const virDomainSmartcardDef *smartcard)
{
    if (smartcard->type != VIR_DOMAIN_SMARTCARD_TYPE_HOST_CERTIFICATES)
        return 0;

    return qemuTPMPathCheckFile(smartcard->data.cert.database);
}


static int
qemuTPMPathCheckRNG(const virDomainRNGDef *rng)
{
    if (rng->backend != VIR_DOMAIN_RNG_BACKEND_RANDOM)
        return 0;

    return qemuTPMPathCheckFile(rng->source.file);
}


/* What a device names by a path of its own, other than as a character device. */
static int
qemuTPMPathCheckFiles(const virDomainDef *def,
                      const virDomainDeviceDef *dev)
{
    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return qemuTPMPathCheckSource(dev->data.disk->src, true);

    case VIR_DOMAIN_DEVICE_FS:
        return qemuTPMPathCheckDir(dev->data.fs->src ? dev->data.fs->src->path : NULL);

    case VIR_DOMAIN_DEVICE_GRAPHICS:
        return qemuTPMPathCheckGraphics(dev->data.graphics);

    case VIR_DOMAIN_DEVICE_MEMORY:
        return qemuTPMPathCheckMemory(dev->data.memory);

    case VIR_DOMAIN_DEVICE_TPM:
        return qemuTPMPathCheckTPM(def, dev->data.tpm);

    case VIR_DOMAIN_DEVICE_PSTORE:
        return qemuTPMPathCheckFile(dev->data.pstore->path);

    case VIR_DOMAIN_DEVICE_INPUT:
        return qemuTPMPathCheckFile(dev->data.input->source.evdev);

    case VIR_DOMAIN_DEVICE_RNG:
        return qemuTPMPathCheckRNG(dev->data.rng);

    case VIR_DOMAIN_DEVICE_AUDIO:
        return qemuTPMPathCheckAudio(dev->data.audio);

    case VIR_DOMAIN_DEVICE_NET:
        return qemuTPMPathCheckFile(dev->data.net->backend.logFile);

    case VIR_DOMAIN_DEVICE_SMARTCARD:
        return qemuTPMPathCheckSmartcard(dev->data.smartcard);

    case VIR_DOMAIN_DEVICE_NONE:
    case VIR_DOMAIN_DEVICE_LEASE:
    case VIR_DOMAIN_DEVICE_SOUND:
    case VIR_DOMAIN_DEVICE_VIDEO:
    case VIR_DOMAIN_DEVICE_HOSTDEV:
    case VIR_DOMAIN_DEVICE_WATCHDOG:
    case VIR_DOMAIN_DEVICE_CONTROLLER:
    case VIR_DOMAIN_DEVICE_HUB:
    case VIR_DOMAIN_DEVICE_REDIRDEV:
    case VIR_DOMAIN_DEVICE_CHR:
    case VIR_DOMAIN_DEVICE_MEMBALLOON:
    case VIR_DOMAIN_DEVICE_NVRAM:
    case VIR_DOMAIN_DEVICE_SHMEM:
    case VIR_DOMAIN_DEVICE_PANIC:
    case VIR_DOMAIN_DEVICE_IOMMU:
    case VIR_DOMAIN_DEVICE_VSOCK:
    case VIR_DOMAIN_DEVICE_CRYPTO:
    case VIR_DOMAIN_DEVICE_LAST:
        break;
    }

    return 0;
}


int
qemuTPMPathCheckDevice(const virDomainDef *def,
                       virDomainDeviceDef *dev)
{
    if (qemuTPMPathCheckFiles(def, dev) < 0)
        return -1;

    return qemuDomainDeviceBackendChardevForeachOne(dev, qemuTPMPathCheckChardev, NULL);
}


static int
qemuTPMPathCheckDeviceIter(virDomainDef *def,
                           virDomainDeviceDef *dev,
                           virDomainDeviceInfo *info G_GNUC_UNUSED,
                           void *opaque G_GNUC_UNUSED)
{
    return qemuTPMPathCheckDevice(def, dev);
}


/* The security drivers would give even what is only read to QEMU's user, and
 * libvirt copies the template of the NVRAM for it. */
static int
qemuTPMPathCheckOS(const virDomainOSDef *os)
{
    const char *files[] = {
        os->kernel, os->initrd, os->dtb, os->shim,
        os->loader ? os->loader->path : NULL,
        os->loader ? os->loader->nvramTemplate : NULL,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(files); i++) {
        if (qemuTPMPathCheckFile(files[i]) < 0)
            return -1;
    }

    for (i = 0; i < os->nacpiTables; i++) {
        if (qemuTPMPathCheckFile(os->acpiTables[i]->path) < 0)
            return -1;
    }

    if (os->loader && os->loader->nvram)
        return qemuTPMPathCheckSource(os->loader->nvram, true);

    return 0;
}


static int
qemuTPMPathCheckSysinfo(const virSysinfoDef *sysinfo)
{
    size_t i;

    for (i = 0; i < sysinfo->nfw_cfgs; i++) {
        if (qemuTPMPathCheckFile(sysinfo->fw_cfgs[i].file) < 0)
            return -1;
    }

    return 0;
}


int
qemuTPMPathCheckDomain(virDomainDef *def)
{
    size_t i;

    if (qemuTPMPathCheckOS(&def->os) < 0)
        return -1;

    for (i = 0; i < def->nsysinfo; i++) {
        if (qemuTPMPathCheckSysinfo(def->sysinfo[i]) < 0)
            return -1;
    }

    return virDomainDeviceInfoIterateFlags(def, qemuTPMPathCheckDeviceIter,
                                           DOMAIN_DEVICE_ITERATE_ALL_CONSOLES |
                                           DOMAIN_DEVICE_ITERATE_MISSING_INFO,
                                           NULL);
}


int
qemuTPMPathCheckPool(virStoragePoolPtr pool,
                     const char *disk)
{
    g_autofree char *xml = virStoragePoolGetXMLDesc(pool, 0);
    g_autoptr(virStoragePoolDef) def = NULL;

    if (!xml || !(def = virStoragePoolDefParse(xml, NULL, 0)))
        return -1;

    if (def->type != VIR_STORAGE_POOL_TPM)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("disk '%1$s' cannot be created in storage pool '%2$s' of type 'tpm': create it beforehand in a pool of another type"),
                   disk, def->name);
    return -1;
}


bool
qemuTPMPathIsVolume(const virDomainTPMDef *tpm)
{
    const char *path = qemuTPMPathGetSource(tpm);
    g_autofree char *canon = path ? qemuTPMPathResolve(path) : NULL;
    g_auto(qemuTPMPathPlace) place = { 0 };

    if (!canon)
        return false;

    ignore_value(qemuTPMPathFindOrGuess(path, canon, &place));
    return qemuTPMPathHasToStay(path, canon, &place);
}
