/*
 * storage_tpm_bytes.c: the state of a TPM in memory
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * State holds the keys of a guest: it is read as a whole, at most 16 MiB of it, and
 * overwritten when it is freed.
 */

#include <config.h>

#include <sys/mman.h>
#include <unistd.h>

#include "storage_tpm_bytes.h"
#include "virerror.h"
#include "virfile.h"
#include "virsecureerase.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


void
virStorageTPMBytesFree(virStorageTPMBytes *bytes)
{
    if (!bytes)
        return;

    virSecureErase(bytes->data, bytes->len);
    g_free(bytes->data);
    g_free(bytes);
}


virStorageTPMBytes *
virStorageTPMBytesReadSome(int fd,
                           const char *path,
                           size_t most)
{
    g_autoptr(virStorageTPMBytes) bytes = g_new0(virStorageTPMBytes, 1);
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t got;

    if (size < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), path);
        return NULL;
    }

    if (size > VIR_TPM_STATE_MAX_SIZE) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' has %2$lld bytes, but TPM state has at most %3$llu"),
                       path, (long long)size, VIR_TPM_STATE_MAX_SIZE);
        return NULL;
    }

    size = MIN(size, most);
    bytes->data = g_new0(uint8_t, size);
    bytes->len = size; /* erased, whatever comes of it before the read fails */
    if ((got = saferead(fd, bytes->data, size)) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), path);
        return NULL;
    }
    bytes->len = got;

    return g_steal_pointer(&bytes);
}


virStorageTPMBytes *
virStorageTPMBytesRead(int fd,
                       const char *path)
{
    return virStorageTPMBytesReadSome(fd, path, VIR_TPM_STATE_MAX_SIZE);
}


int
virStorageTPMBytesToMemory(const virStorageTPMBytes *bytes)
{
    VIR_AUTOCLOSE fd = memfd_create("tpm", MFD_CLOEXEC);
    int ret;

    if (fd < 0 ||
        (bytes && safewrite(fd, bytes->data, bytes->len) < 0)) {
        virReportSystemError(errno, "%s", _("cannot allocate memory for the state of a TPM"));
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


char *
virStorageTPMBytesFdPath(int fd)
{
    return g_strdup_printf("/proc/%lld/fd/%d", (long long)getpid(), fd);
}
