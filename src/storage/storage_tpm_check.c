/*
 * storage_tpm_check.c: whether a tpm pool can do what is asked for
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asked before anything is made or touched, so that what cannot be done is refused
 * with a reason and changes nothing.
 */

#include <config.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_check.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static int
virStorageTPMCheckEncryption(const virStorageVolDef *vol)
{
    const virStorageEncryption *enc = vol->target.encryption;

    if (!enc)
        return 0;

    switch ((virStorageEncryptionFormatType)enc->format) {
    case VIR_STORAGE_ENCRYPTION_FORMAT_VTPM:
        break;

    case VIR_STORAGE_ENCRYPTION_FORMAT_QCOW:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format 'qcow' of TPM volume '%1$s' is not secure, and not supported: use 'vtpm'"),
                       vol->name);
        return -1;

    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format 'luks' of TPM volume '%1$s' is not supported yet: use 'vtpm'"),
                       vol->name);
        return -1;

    case VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS2:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY:
    case VIR_STORAGE_ENCRYPTION_FORMAT_LAST:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format '%1$s' of TPM volume '%2$s' is not supported: use 'vtpm'"),
                       virStorageEncryptionFormatTypeToString(enc->format), vol->name);
        return -1;
    }

    if (enc->nsecrets != 1) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption of TPM volume '%1$s' requires exactly one <secret>"),
                       vol->name);
        return -1;
    }

    return 0;
}


int
virStorageTPMCheckTarget(const virStorageVolDef *vol)
{
    if (vol->target.format == VIR_STORAGE_FILE_QCOW2) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format 'qcow2' of TPM volume '%1$s' is not supported yet: use 'raw'"),
                       vol->name);
        return -1;
    }

    if (vol->target.format != VIR_STORAGE_FILE_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%1$s' of TPM volume '%2$s' is not supported: use 'raw'"),
                       virStorageFileFormatTypeToString(vol->target.format), vol->name);
        return -1;
    }

    if (virStorageSourceHasBacking(&vol->target)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' cannot have a backing store"), vol->name);
        return -1;
    }

    if (vol->target.capacity > VIR_STORAGE_VOL_TPM_CAPACITY_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("capacity of TPM volume '%1$s' is %2$llu bytes, but at most %3$llu are supported: omit it to use 1 MiB"),
                       vol->name, vol->target.capacity,
                       VIR_STORAGE_VOL_TPM_CAPACITY_MAX);
        return -1;
    }

    return virStorageTPMCheckEncryption(vol);
}


/* Whether an algorithm can be used is asked before anything is touched. */
int
virStorageTPMCheckWipe(const virStorageVolDef *vol,
                       unsigned int algorithm)
{
    g_autofree char *scrub = NULL;

    if (algorithm == VIR_STORAGE_VOL_WIPE_ALG_ZERO)
        return 0;

    if (algorithm == VIR_STORAGE_VOL_WIPE_ALG_TRIM) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("wipe algorithm 'trim' is not supported for TPM volume '%1$s', which is a file"),
                       vol->name);
        return -1;
    }

    if (!(scrub = virFindFileInPath("scrub"))) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("this wipe algorithm requires the program 'scrub' for TPM volume '%1$s': install it, or use the algorithm 'zero'"),
                       vol->name);
        return -1;
    }

    return 0;
}
