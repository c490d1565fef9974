/*
 * qemu_tpm_command.c: command line of swtpm
 *
 * What swtpm is told is the same wherever its state is: in a directory that libvirt
 * has made, in a file of the user's choice, or on a storage volume. The functions here
 * change nothing but the command.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "qemu_tpm_command.h"
#include "virtpm.h"

#define VIR_FROM_THIS VIR_FROM_QEMU


/* swtpm socket --ctrl type=unixio,path=SOCKET,mode=0600 --log fd=24,level=20
 *     --terminate --tpm2 */
virCommand *
qemuTPMCommandNew(const virDomainTPMDef *tpm,
                  const virQEMUDriverConfig *cfg,
                  int *logfd)
{
    const virDomainTPMEmulatorDef *emulator = &tpm->data.emulator;
    g_autofree char *swtpm = virTPMGetSwtpm();
    virCommand *cmd = NULL;

    if (!swtpm)
        return NULL;

    cmd = virCommandNewArgList(swtpm, "socket", "--ctrl", NULL);
    virCommandAddArgFormat(cmd, "type=unixio,path=%s,mode=0600",
                           emulator->source->data.nix.path);

    virCommandAddArg(cmd, "--log");
    if (emulator->debug != 0)
        virCommandAddArgFormat(cmd, "fd=%d,level=%u", *logfd, emulator->debug);
    else
        virCommandAddArgFormat(cmd, "fd=%d", *logfd);

    virCommandPassFD(cmd, *logfd, VIR_COMMAND_PASS_FD_CLOSE_PARENT);
    *logfd = -1;

    virCommandAddArg(cmd, "--terminate");

    if (emulator->version == VIR_DOMAIN_TPM_VERSION_2_0)
        virCommandAddArg(cmd, "--tpm2");

    virCommandClearCaps(cmd);
    virCommandSetUID(cmd, cfg->swtpm_user);
    virCommandSetGID(cmd, cfg->swtpm_group);
    return cmd;
}


/* --tpmstate backend-uri=file://PATH,lock   or
 * --tpmstate dir=PATH,mode=0600,lock */
void
qemuTPMCommandAddState(virCommand *cmd,
                       const virDomainTPMEmulatorDef *emulator,
                       bool lock)
{
    const char *locking = lock ? ",lock" : "";

    virCommandAddArg(cmd, "--tpmstate");

    switch (emulator->source_type) {
    case VIR_DOMAIN_TPM_SOURCE_TYPE_FILE:
    case VIR_DOMAIN_TPM_SOURCE_TYPE_VOLUME:
        virCommandAddArgFormat(cmd, "backend-uri=file://%s%s",
                               emulator->source_path, locking);
        break;
    case VIR_DOMAIN_TPM_SOURCE_TYPE_DIR:
    case VIR_DOMAIN_TPM_SOURCE_TYPE_DEFAULT:
    case VIR_DOMAIN_TPM_SOURCE_TYPE_LAST:
        virCommandAddArgFormat(cmd, "dir=%s,mode=0600%s",
                               emulator->source_path, locking);
        break;
    }
}


/* --key pwdfd=25,mode=aes-256-cbc --migration-key pwdfd=27,mode=aes-256-cbc */
void
qemuTPMCommandAddKeys(virCommand *cmd,
                      int key,
                      int migration)
{
    virCommandAddArg(cmd, "--key");
    virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", key);
    virCommandAddArg(cmd, "--migration-key");
    virCommandAddArgFormat(cmd, "pwdfd=%d,mode=aes-256-cbc", migration);
}


/* --migration release-lock-outgoing,incoming */
void
qemuTPMCommandAddMigration(virCommand *cmd,
                           bool incoming)
{
    virCommandAddArg(cmd, "--migration");
    virCommandAddArgFormat(cmd, "release-lock-outgoing%s", incoming ? ",incoming" : "");
}
