/*
 * qemu_tpm_volume_policy.c: whether a domain may have a TPM that is not on a volume
 *
 * With swtpm_require_volume in qemu.conf, no domain starts whose state of an emulated
 * TPM would be created by libvirt itself, however the domain is started.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "domain_conf_tpm.h"
#include "qemu_tpm_volume.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_QEMU


int
qemuTPMVolumeCheckPolicy(virQEMUDriver *driver,
                         const virDomainDef *def)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    size_t i;

    if (!cfg->swtpmRequireVolume)
        return 0;

    for (i = 0; i < def->ntpms; i++) {
        const virDomainTPMDef *tpm = def->tpms[i];

        if (tpm->type != VIR_DOMAIN_TPM_TYPE_EMULATOR || virDomainTPMDefHasVolume(tpm))
            continue;

        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM of domain '%1$s' is not on a storage volume, which 'swtpm_require_volume' in qemu.conf requires: create a volume with vol-create and name it in the domain, or adopt the existing state with 'virt-tpm-volume adopt'"),
                       def->name);
        return -1;
    }

    return 0;
}
