/*
 * storage_tpm_helper.c: have libvirt_tpmhelper open TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * This is all that the storage driver does to open a TPM: it runs a program as swtpm's
 * user, and takes back bytes and text. A state may make that program do anything, so
 * that nothing of it is believed: bytes are recognised anew, XML must have the form that
 * is expected, and everything is limited in size and time. The private directory that
 * the program works in is removed here, however it ends; if this daemon is killed, the
 * next one does that, see storage_tpm_scratch.c.
 */

#include <config.h>

#include <sys/wait.h>

#include "configmake.h"
#include "storage_tpm_bytes.h"
#include "storage_tpm_child.h"
#include "storage_tpm_endorsement.h"
#include "storage_tpm_helper.h"
#include "storage_tpm_scratch.h"
#include "storage_vol_tpm.h"
#include "tpmhelper.h"
#include "virerror.h"
#include "virfile.h"
#include "virtpm.h"
#include "virtpmsecret.h"
#include "virtpmstate.h"
#include "virtpmstatelayout.h"
#define LIBVIRT_STORAGE_TPM_HELPERPRIV_H_ALLOW
#include "storage_tpm_helperpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Long enough for a machine that is very busy. */
unsigned int virStorageTPMHelperTimeout = 60;

/* How many times as long all of a run may take: every answer may be slow. */
#define VIR_STORAGE_TPM_HELPER_ANSWERS 10


static int
virStorageTPMHelperAddSecret(virCommand *cmd,
                             const char *option,
                             const virStorageTPMHelperSpec *spec)
{
    int fd;

    if (!spec->secret)
        return 0;

    if ((fd = virTPMSecretAddFD(cmd, spec->secret, spec->pool, spec->vol, NULL)) < 0)
        return -1;

    virCommandAddArg(cmd, option);
    virCommandAddArgFormat(cmd, "%d", fd);
    return 0;
}


/*
 * For an encrypted TPM 2.0 that gets another secret:
 *
 * $ libvirt_tpmhelper convert --swtpm SWTPM --timeout 60 --limit 600 --tpm2 \
 *     --dir DIR --state FD --key FD --output FD --output-key FD
 */
virCommand *
virStorageTPMHelperBuildCommand(const virStorageTPMHelperRun *run,
                                const char *helper,
                                const char *swtpm,
                                const char *dir)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(helper, run->command,
                                                     "--swtpm", swtpm, NULL);

    virCommandAddArg(cmd, "--timeout");
    virCommandAddArgFormat(cmd, "%u", virStorageTPMHelperTimeout);
    virCommandAddArg(cmd, "--limit");
    virCommandAddArgFormat(cmd, "%u",
                           virStorageTPMHelperTimeout * VIR_STORAGE_TPM_HELPER_ANSWERS);

    if (run->from->version == VIR_DOMAIN_TPM_VERSION_2_0)
        virCommandAddArg(cmd, "--tpm2");

    if (dir)
        virCommandAddArgList(cmd, "--dir", dir, NULL);

    virCommandAddArg(cmd, "--state");
    virCommandAddArgFormat(cmd, "%d", run->state);
    if (run->output >= 0) {
        virCommandAddArg(cmd, "--output");
        virCommandAddArgFormat(cmd, "%d", run->output);
    }

    if (virStorageTPMHelperAddSecret(cmd, "--key", run->from) < 0 ||
        (run->to && virStorageTPMHelperAddSecret(cmd, "--output-key", run->to) < 0))
        return NULL;

    return g_steal_pointer(&cmd);
}


/* Makes text of what the helper and swtpm have said, in lines: of the last of it, for
 * all of it is more than an error can have. */
static void
virStorageTPMHelperCleanText(char *said)
{
    size_t len = strlen(said);
    char *c;

    if (len > VIR_TPM_HELPER_TEXT_MAX)
        memmove(said, said + len - VIR_TPM_HELPER_TEXT_MAX, VIR_TPM_HELPER_TEXT_MAX + 1);

    for (c = said; *c; c++) {
        if (g_ascii_iscntrl(*c) && *c != '\n')
            *c = ' ';
    }
}


/* Takes the line of the helper's own from what was said: returns it, and leaves in
 * @said what swtpm has said. */
static char *
virStorageTPMHelperSplitOutput(char *said)
{
    char *line;
    char *end;

    virStorageTPMHelperCleanText(said);

    if (!(line = g_strrstr(said, "\n" VIR_TPM_HELPER_PREFIX)))
        return g_strdup("");

    *line = '\0';
    line += strlen("\n" VIR_TPM_HELPER_PREFIX);
    if ((end = strchr(line, '\n')))
        *end = '\0';

    return g_utf8_make_valid(line, -1);
}


static void
virStorageTPMHelperReportTimeout(const virStorageTPMHelperSpec *spec,
                                 const char *command)
{
    virReportError(VIR_ERR_OPERATION_TIMEOUT,
                   _("swtpm for TPM volume '%1$s' of pool '%2$s' did not answer %3$s within %4$u seconds"),
                   spec->vol, spec->pool, command, virStorageTPMHelperTimeout);
}


static void
virStorageTPMHelperReportRefused(const virStorageTPMHelperSpec *spec,
                                 const char *command,
                                 const char *log)
{
    g_autofree char *otherwise = g_strdup_printf(_("swtpm did not execute %1$s"), command);

    virStorageVolTPMReportSwtpm(log, otherwise, spec->pool, spec->vol);
}


static void
virStorageTPMHelperReportLimit(const virStorageTPMHelperSpec *spec)
{
    virReportError(VIR_ERR_OPERATION_TIMEOUT,
                   _("%1$s did not finish with TPM volume '%2$s' of pool '%3$s' within %4$u seconds"),
                   VIR_TPM_HELPER_PROGRAM, spec->vol, spec->pool,
                   virStorageTPMHelperTimeout * VIR_STORAGE_TPM_HELPER_ANSWERS);
}


/* Reports that a run was not done. @status is that of waitpid(). */
static void
virStorageTPMHelperReport(const virStorageTPMHelperRun *run,
                          int status,
                          char *said)
{
    const virStorageTPMHelperSpec *spec = run->from;
    g_autofree char *line = virStorageTPMHelperSplitOutput(said);
    g_autofree char *log = g_utf8_make_valid(said, -1);
    int code;

    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) == SIGALRM)
            virStorageTPMHelperReportLimit(spec);
        else
            virReportError(VIR_ERR_OPERATION_ABORTED,
                           _("%1$s was ended by signal %2$d while it opened TPM volume '%3$s' of pool '%4$s'"),
                           VIR_TPM_HELPER_PROGRAM, WTERMSIG(status), spec->vol, spec->pool);
        return;
    }

    code = WEXITSTATUS(status);
    if (run->to && code == VIR_TPM_HELPER_EXIT_OUTPUT_REFUSED) {
        virStorageTPMHelperReportRefused(run->to, line, log);
    } else if (run->to && code == VIR_TPM_HELPER_EXIT_OUTPUT_TIMEOUT) {
        virStorageTPMHelperReportTimeout(run->to, line);
    } else if (code == VIR_TPM_HELPER_EXIT_REFUSED) {
        virStorageTPMHelperReportRefused(spec, line, log);
    } else if (code == VIR_TPM_HELPER_EXIT_TIMEOUT) {
        virStorageTPMHelperReportTimeout(spec, line);
    } else {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("%1$s could not open TPM volume '%2$s' of pool '%3$s', exit status %4$d: %5$s"),
                       VIR_TPM_HELPER_PROGRAM, spec->vol, spec->pool, code,
                       *line ? line : g_strstrip(log));
    }
}


/* Runs the helper. Returns what it has printed, or NULL with an error reported. */
static char *
virStorageTPMHelperRunCommand(const virStorageTPMHelperRun *run,
                              virCommand *cmd,
                              uid_t uid,
                              gid_t gid)
{
    const unsigned int limit = virStorageTPMHelperTimeout * (VIR_STORAGE_TPM_HELPER_ANSWERS + 1);
    g_autofree char *printed = NULL;
    g_autofree char *said = NULL;
    int status;
    int rc;

    virCommandPassFD(cmd, run->state, 0);
    if (run->output >= 0)
        virCommandPassFD(cmd, run->output, 0);
    virCommandRawStatus(cmd);

    if ((rc = virStorageTPMChildRun(cmd, uid, gid, limit, &printed, &said, &status)) < 0)
        return NULL;

    if (rc == 0) {
        virStorageTPMHelperReportLimit(run->from);
        return NULL;
    }

    if (!WIFEXITED(status) || WEXITSTATUS(status) != VIR_TPM_HELPER_EXIT_DONE) {
        virStorageTPMHelperReport(run, status, said);
        return NULL;
    }

    return g_steal_pointer(&printed);
}


/* Runs the helper on permanent state: volatile state that was left in it may be of an
 * earlier boot, or not whole, and swtpm would refuse it all. */
static char *
virStorageTPMHelperRunForText(virStorageTPMHelperRun *run,
                              const virStorageTPMBytes *bytes)
{
    g_autofree char *helper = virFileFindResource(VIR_TPM_HELPER_PROGRAM,
                                                  abs_top_builddir "/src", LIBEXECDIR);
    g_autofree char *swtpm = virTPMGetSwtpm();
    g_autoptr(virStorageTPMBytes) linear = g_new0(virStorageTPMBytes, 1);
    g_autoptr(virStorageTPMScratch) scratch = NULL;
    g_autoptr(virCommand) cmd = NULL;
    VIR_AUTOCLOSE state = -1;
    uid_t uid;
    gid_t gid;

    if (!(linear->data = virTPMStateToLinear(bytes->data, bytes->len, &linear->len))) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' does not hold permanent TPM state"),
                       run->from->vol, run->from->pool);
        return NULL;
    }

    if (!helper || !swtpm ||
        virStorageTPMChildUser(&uid, &gid) < 0 ||
        (run->state = state = virStorageTPMBytesToMemory(linear)) < 0)
        return NULL;

    if (virStorageTPMScratchIsMemory() &&
        !(scratch = virStorageTPMScratchNew(VIR_STORAGE_TPM_SCRATCH_STATE, uid, gid)))
        return NULL;

    if (!(cmd = virStorageTPMHelperBuildCommand(run, helper, swtpm, scratch)))
        return NULL;

    return virStorageTPMHelperRunCommand(run, cmd, uid, gid);
}


/* As virStorageTPMHelperRunForText(), for what returns bytes. */
static virStorageTPMBytes *
virStorageTPMHelperRunForBytes(virStorageTPMHelperRun *run,
                               const virStorageTPMBytes *bytes)
{
    g_autofree char *printed = NULL;
    VIR_AUTOCLOSE output = virStorageTPMBytesToMemory(NULL);

    if ((run->output = output) < 0 ||
        !(printed = virStorageTPMHelperRunForText(run, bytes)))
        return NULL;

    return virStorageTPMBytesRead(output, VIR_TPM_HELPER_PROGRAM);
}


static bool
virStorageTPMHelperIsCertificate(const char *pem)
{
    const char *begin = "-----BEGIN CERTIFICATE-----\n";
    const char *end = "-----END CERTIFICATE-----\n";
    size_t len = strlen(pem);
    size_t i;

    if (len <= strlen(begin) + strlen(end) ||
        !g_str_has_prefix(pem, begin) || !g_str_has_suffix(pem, end))
        return false;

    for (i = strlen(begin); i < len - strlen(end); i++) {
        if (!g_ascii_isalnum(pem[i]) && !strchr("+/=\n", pem[i]))
            return false;
    }

    return true;
}


/* Whoever made a profile chose its name. */
static bool
virStorageTPMHelperIsProfile(const char *name)
{
    size_t len = strlen(name);
    size_t i;

    for (i = 0; i < len; i++) {
        if (!g_ascii_isprint(name[i]))
            return false;
    }

    return len > 0 && len < 128;
}


/* Keys are in their order, each at most once, as virStorageTPMEndorsementGet() has them.
 * Whether they are those that are described is found out here, and not told. */
static bool
virStorageTPMHelperIsExpected(const virStorageVolTPMDef *told)
{
    const virStorageVolTPMInspection *inspection = told->inspection;
    size_t i;

    for (i = 0; i < told->nendorsements; i++) {
        const char *certificate = told->endorsements[i].certificate;

        if ((certificate && *certificate && !virStorageTPMHelperIsCertificate(certificate)) ||
            (i > 0 && strcmp(told->endorsements[i - 1].key, told->endorsements[i].key) >= 0))
            return false;
    }

    if (!inspection)
        return true;

    return !inspection->verified &&
        (!inspection->profile || virStorageTPMHelperIsProfile(inspection->profile));
}


int
virStorageTPMHelperParse(const char *xml,
                         virStorageVolTPMDef *found)
{
    g_autoptr(virStorageVolTPMDef) told = NULL;
    size_t i;

    /* the helper writes no document type, whose entities could be expanded without limit */
    if (strlen(xml) > VIR_TPM_HELPER_TEXT_MAX || strstr(xml, "<!") ||
        !(told = virStorageVolTPMDefParseInspected(xml)) ||
        !virStorageTPMHelperIsExpected(told)) {
        virResetLastError();
        return -1;
    }

    for (i = 0; i < told->nendorsements; i++) {
        char **certificate = &told->endorsements[i].certificate;

        /* what is parsed has one, though it be empty */
        if (*certificate && !**certificate)
            g_clear_pointer(certificate, g_free);
    }

    virStorageTPMEndorsementMove(found, told);
    found->activePcrBanks = g_steal_pointer(&told->activePcrBanks);
    found->inspection = g_steal_pointer(&told->inspection);
    return 0;
}


int
virStorageTPMHelperInspect(const virStorageTPMHelperSpec *spec,
                           const virStorageTPMBytes *bytes,
                           virStorageVolTPMDef *found)
{
    virStorageTPMHelperRun run = { .command = "inspect", .from = spec, .output = -1 };
    g_autofree char *xml = NULL;

    if (!(xml = virStorageTPMHelperRunForText(&run, bytes)))
        return -1;

    if (virStorageTPMHelperParse(xml, found) == 0)
        return 0;

    virReportError(VIR_ERR_INTERNAL_ERROR,
                   _("%1$s returned an invalid description of TPM volume '%2$s' of pool '%3$s'"),
                   VIR_TPM_HELPER_PROGRAM, spec->vol, spec->pool);
    return -1;
}


virStorageTPMBytes *
virStorageTPMHelperDecrypt(const virStorageTPMHelperSpec *spec,
                           const virStorageTPMBytes *bytes)
{
    virStorageTPMHelperRun run = { .command = "decrypt", .from = spec, .output = -1 };

    return virStorageTPMHelperRunForBytes(&run, bytes);
}


/* A swtpm that was told to write must have written: one that is started on
 * nothing makes a new TPM. */
virStorageTPMBytes *
virStorageTPMHelperConvert(const virStorageTPMHelperSpec *from,
                           const virStorageTPMHelperSpec *to,
                           const virStorageTPMBytes *bytes)
{
    virStorageTPMHelperRun run = { .command = "convert", .from = from, .to = to, .output = -1 };
    g_autoptr(virStorageTPMBytes) converted = NULL;
    virTPMState state;

    if (!(converted = virStorageTPMHelperRunForBytes(&run, bytes)))
        return NULL;

    virTPMStateProbeBytes(converted->data, converted->len, &state);

    if (state.kind == VIR_TPM_STATE_LINEAR && state.encrypted == !!to->secret)
        return g_steal_pointer(&converted);

    virReportError(VIR_ERR_INTERNAL_ERROR,
                   _("swtpm did not convert the state for TPM volume '%1$s' of pool '%2$s'"),
                   to->vol, to->pool);
    return NULL;
}
