/*
 * storage_tpm_setup.c: make TPM state with swtpm_setup
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs swtpm_setup in a private directory, as the user of swtpm, and takes the state and the
 * certificates of its endorsement keys from there. That is where the state of a new volume
 * comes from; storage_tpm_store.c makes it visible.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_certificate.h"
#include "storage_tpm_child.h"
#include "storage_tpm_scratch.h"
#include "storage_tpm_setup.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virlog.h"
#include "virstring.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virtpmstate.h"
#include "viruuid.h"
#define LIBVIRT_STORAGE_TPM_SETUPPRIV_H_ALLOW
#include "storage_tpm_setuppriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_setup");

#define VIR_STORAGE_TPM_CERT_MAX (64 * 1024)

/* For how many seconds swtpm_setup may run. It takes less than one, but waits for
 * the local CA, which may have its key in a device or on a network. */
unsigned int virStorageTPMSetupTimeout = 120;


static int
virStorageTPMSetupCheckVersion(const virStorageVolDef *vol)
{
    virTPMSwtpmSetupFeature feature = VIR_TPM_SWTPM_SETUP_FEATURE_TPM_2_0;

    if (vol->tpm->version == VIR_DOMAIN_TPM_VERSION_1_2)
        feature = VIR_TPM_SWTPM_SETUP_FEATURE_TPM_1_2;

    if (virTPMSwtpmSetupCapsGet(feature))
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("swtpm_setup of this host does not support version %1$s of TPM volume '%2$s'"),
                   virDomainTPMVersionTypeToString(vol->tpm->version), vol->name);
    return -1;
}


static int
virStorageTPMSetupAddPassphrase(virCommand *cmd,
                                const virStoragePoolDef *pool,
                                const virStorageVolDef *vol)
{
    const virSecretLookupTypeDef *secret = virStorageVolTPMGetSecret(vol->target.encryption);
    int fd;

    if (!secret)
        return 0;

    if ((fd = virTPMSecretAddFD(cmd, secret, pool->name, vol->name, NULL)) < 0)
        return -1;

    return virTPMSwtpmSetupAddPassphrase(cmd, fd);
}


/*
 * For an encrypted TPM 2.0 with two PCR banks:
 *
 * $ swtpm_setup --tpm2 --tpm-state file://SCRATCH/state --vmid UUID \
 *     --createek --create-ek-cert --create-platform-cert --lock-nvram \
 *     --write-ek-cert-files SCRATCH \
 *     --pwdfile-fd FD --cipher aes-256-cbc --pcr-banks sha256,sha384
 *
 * The certificates' subject is the identity of the TPM, not the volume's name.
 */
virCommand *
virStorageTPMSetupBuildCommand(const virStoragePoolDef *pool,
                               const virStorageVolDef *vol,
                               const char *swtpm_setup,
                               const char *scratch)
{
    g_autoptr(virCommand) cmd = virCommandNew(swtpm_setup);
    g_autofree char *banks = virDomainTPMPcrBanksToString(vol->tpm->activePcrBanks);
    const char *removeDisabled = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (vol->tpm->version == VIR_DOMAIN_TPM_VERSION_2_0)
        virCommandAddArg(cmd, "--tpm2");

    virCommandAddArg(cmd, "--tpm-state");
    virCommandAddArgFormat(cmd, "file://%s/state", scratch);
    virCommandAddArgList(cmd, "--vmid", virUUIDFormat(vol->tpm->uuid, uuid),
                         "--createek", "--create-ek-cert",
                         "--create-platform-cert", "--lock-nvram", NULL);

    if (virTPMSwtpmSetupCapsGet(VIR_TPM_SWTPM_SETUP_FEATURE_CMDARG_WRITE_EK_CERT_FILES))
        virCommandAddArgList(cmd, "--write-ek-cert-files", scratch, NULL);

    if (virStorageTPMSetupAddPassphrase(cmd, pool, vol) < 0)
        return NULL;

    if (banks)
        virCommandAddArgList(cmd, "--pcr-banks", banks, NULL);

    if (vol->tpm->profile.removeDisabled)
        removeDisabled = virDomainTPMProfileRemoveDisabledTypeToString(vol->tpm->profile.removeDisabled);

    if (virTPMSwtpmSetupAddProfile(cmd, vol->tpm->profile.source, removeDisabled) < 0)
        return NULL;

    return g_steal_pointer(&cmd);
}


/* The end of what a tool has said, on one line. */
static char *
virStorageTPMSetupFormatErrors(const char *errors,
                               const char *output)
{
    const char *said = errors && *errors ? errors : NULLSTR_EMPTY(output);
    const size_t most = 400;
    size_t len = strlen(said);
    g_autofree char *words = g_strdup(len > most ? said + len - most : said);

    g_strchomp(g_strdelimit(words, "\r\n", ' '));
    return g_utf8_make_valid(words, -1);
}


static int
virStorageTPMSetupRun(virCommand *cmd,
                      const virStorageVolDef *vol,
                      uid_t uid,
                      gid_t gid,
                      char **output)
{
    g_autofree char *errors = NULL;
    g_autofree char *words = NULL;
    int status;
    int rc;

    if ((rc = virStorageTPMChildRun(cmd, uid, gid, virStorageTPMSetupTimeout,
                                    output, &errors, &status)) < 0)
        return -1;

    if (rc == 0) {
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("swtpm_setup did not create TPM volume '%1$s' within %2$u seconds: check that swtpm's local CA can be used"),
                       vol->name, virStorageTPMSetupTimeout);
        return -1;
    }

    if (status == 0)
        return 0;

    words = virStorageTPMSetupFormatErrors(errors, *output);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("swtpm_setup could not create TPM volume '%1$s', exit status %2$d: %3$s"),
                   vol->name, status, words);
    return -1;
}


static bool
virStorageTPMSetupIsAsAsked(const virStorageVolDef *vol,
                            const virTPMState *state)
{
    virDomainTPMVersion version = virStorageVolTPMVersionFromState(state->version);

    /* an encrypted state does not tell its version */
    return state->kind == VIR_TPM_STATE_LINEAR &&
        state->encrypted == !!vol->target.encryption &&
        (version == VIR_DOMAIN_TPM_VERSION_DEFAULT || version == vol->tpm->version);
}


/* swtpm_setup says what it has made; trust only what the bytes say. */
static virStorageTPMBytes *
virStorageTPMSetupReadState(const virStorageVolDef *vol,
                            const char *scratch)
{
    g_autofree char *path = g_strdup_printf("%s/state", scratch);
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    virTPMState state;
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;

    if ((fd = virFileOpenRegular(path, O_RDONLY, &sb)) < 0) {
        virReportSystemError(errno, _("cannot open '%1$s', which swtpm_setup has created"), path);
        return NULL;
    }

    if (!(bytes = virStorageTPMBytesRead(fd, path)))
        return NULL;

    virTPMStateProbeBytes(bytes->data, bytes->len, &state);
    if (!virStorageTPMSetupIsAsAsked(vol, &state)) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("swtpm_setup did not create the requested TPM for volume '%1$s'"),
                       vol->name);
        return NULL;
    }

    return g_steal_pointer(&bytes);
}


/* Adds what a file ek-KEY.crt says, if it is one, to the volume's TPM. */
static void
virStorageTPMSetupAddEndorsement(virStorageVolTPMDef *tpm,
                                 const char *scratch,
                                 const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s", scratch, name);
    g_autofree char *key = NULL;
    g_autofree char *der = NULL;
    struct stat sb;
    VIR_AUTOCLOSE fd = -1;
    int len;

    if (!STRPREFIX(name, "ek-") || !virStringHasSuffix(name, ".crt"))
        return;

    key = g_strndup(name + strlen("ek-"),
                    strlen(name) - strlen("ek-") - strlen(".crt"));

    if ((fd = virFileOpenRegular(path, O_RDONLY, &sb)) < 0 ||
        (len = virFileReadLimFD(fd, VIR_STORAGE_TPM_CERT_MAX, &der)) < 0 ||
        virStorageTPMCertificateAdd(tpm, key, der, len) < 0)
        VIR_WARN("cannot read the EK certificate '%s' that swtpm_setup has made", path);
}


int
virStorageTPMSetupReadEndorsements(virStorageVolTPMDef *tpm,
                                   const char *scratch)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;
    int rc;

    if (virDirOpen(&dir, scratch) < 0)
        return -1;

    while ((rc = virDirRead(dir, &ent, scratch)) > 0)
        virStorageTPMSetupAddEndorsement(tpm, scratch, ent->d_name);

    return rc;
}


/* Where the PCR banks were left to swtpm_setup's configuration, it says which
 * it has taken: "... activated PCR banks sha256,sha384 among ...". */
void
virStorageTPMSetupLearnPcrBanks(virStorageVolTPMDef *tpm,
                                const char *output)
{
    const char *marker = "activated PCR banks ";
    const char *start = strstr(output, marker);
    g_autofree char *list = NULL;
    g_auto(GStrv) names = NULL;
    size_t i;

    if (tpm->activePcrBanks || !start)
        return;

    start += strlen(marker);
    list = g_strndup(start, strcspn(start, " .\n"));
    names = g_strsplit(list, ",", 0);

    for (i = 0; names[i]; i++) {
        int bank = virDomainTPMPcrBankTypeFromString(names[i]);

        if (bank < 0)
            continue;
        if (!tpm->activePcrBanks)
            tpm->activePcrBanks = virBitmapNew(0);
        virBitmapSetBitExpand(tpm->activePcrBanks, bank);
    }
}


virStorageTPMBytes *
virStorageTPMManufacture(const virStoragePoolDef *pool,
                         virStorageVolDef *vol)
{
    g_autofree char *swtpm_setup = virTPMGetSwtpmSetup();
    g_autoptr(virStorageTPMScratch) scratch = NULL;
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *output = NULL;
    g_autoptr(virStorageTPMBytes) bytes = NULL;
    uid_t uid;
    gid_t gid;

    if (!swtpm_setup ||
        virStorageTPMSetupCheckVersion(vol) < 0 ||
        virStorageTPMChildUser(&uid, &gid) < 0 ||
        !(scratch = virStorageTPMScratchNew(VIR_STORAGE_TPM_SCRATCH_SETUP, uid, gid)))
        return NULL;

    if (uid == (uid_t)-1 && virTPMCreateConfigFiles(swtpm_setup) < 0)
        return NULL;

    if (!(cmd = virStorageTPMSetupBuildCommand(pool, vol, swtpm_setup, scratch)) ||
        virStorageTPMSetupRun(cmd, vol, uid, gid, &output) < 0)
        return NULL;

    if (!(bytes = virStorageTPMSetupReadState(vol, scratch)) ||
        virStorageTPMSetupReadEndorsements(vol->tpm, scratch) < 0)
        return NULL;

    virStorageTPMSetupLearnPcrBanks(vol->tpm, output);
    return g_steal_pointer(&bytes);
}
