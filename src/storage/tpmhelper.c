/*
 * tpmhelper.c: libvirt_tpmhelper, which opens TPMs for the storage driver
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever owns a guest can write what he likes into the state of its TPM, and has a TPM
 * answer what he likes. That is why no daemon that runs as root opens one. This program
 * does, as the user of swtpm and without capabilities. It reads a state from one
 * descriptor, runs swtpm on a copy of it in memory, and does one of these:
 *
 *   inspect  prints what the TPM tells of itself on stdout, as <tpm>
 *   convert  writes the state under another secret, or none, to a second descriptor
 *   decrypt  writes the permanent state in clear to a second descriptor
 *
 * Passphrases are pipes that swtpm gets unread. It can be killed at any time: swtpm ends
 * with it, and whoever made the directory of --dir removes that. How it ends is told by
 * its exit code, see tpmhelper.h.
 */

#include <config.h>

#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_bytes.h"
#include "tpmhelper.h"
#include "tpmhelper_inspect.h"
#include "tpmhelper_swtpm.h"
#include "virerror.h"
#include "virfile.h"
#include "virgettext.h"
#include "virstring.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* What is to be done. */
typedef struct _virTPMHelper virTPMHelper;
struct _virTPMHelper {
    virTPMHelperSwtpmSpec from;
    virTPMHelperSwtpmSpec to; /* of the state that is converted */
    unsigned int limit;       /* for all of it, in seconds */
    int state;
    int output;
};


/* Prints why it ends, in the line of its own, for storage_tpm_helper.c. Returns @code. */
static virTPMHelperExit
virTPMHelperReport(virTPMHelperExit code,
                   const char *line)
{
    fprintf(stderr, "\n%s%s\n", VIR_TPM_HELPER_PREFIX, line);
    return code;
}


static virTPMHelperExit
virTPMHelperReportFailed(void)
{
    return virTPMHelperReport(VIR_TPM_HELPER_EXIT_FAILED, virGetLastErrorMessage());
}


/* A command of swtpm has failed, or @swtpm is NULL, as it was not even started. */
static virTPMHelperExit
virTPMHelperReportSwtpm(const virTPMHelperSwtpm *swtpm,
                        bool output)
{
    const char *command = NULL;

    if (!swtpm)
        return virTPMHelperReportFailed();

    switch (virTPMHelperSwtpmGetFailure(swtpm, &command)) {
    case VIR_TPM_HELPER_SWTPM_REFUSED:
        return virTPMHelperReport(output ? VIR_TPM_HELPER_EXIT_OUTPUT_REFUSED :
                                           VIR_TPM_HELPER_EXIT_REFUSED, command);
    case VIR_TPM_HELPER_SWTPM_HANGS:
        return virTPMHelperReport(output ? VIR_TPM_HELPER_EXIT_OUTPUT_TIMEOUT :
                                           VIR_TPM_HELPER_EXIT_TIMEOUT, command);
    case VIR_TPM_HELPER_SWTPM_GOOD:
        break;
    }

    return virTPMHelperReportFailed();
}


static virTPMHelperExit
virTPMHelperPrint(const virStorageVolTPMDef *found)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    g_autofree char *xml = NULL;

    virStorageVolTPMDefFormat(&buf, found);
    xml = virBufferContentAndReset(&buf);

    if (safewrite(STDOUT_FILENO, xml, strlen(xml)) >= 0)
        return VIR_TPM_HELPER_EXIT_DONE;

    virReportSystemError(errno, "%s", _("cannot write what a TPM has told"));
    return virTPMHelperReportFailed();
}


static virTPMHelperExit
virTPMHelperWrite(const virTPMHelper *helper,
                  const virStorageTPMBytes *bytes)
{
    if (safewrite(helper->output, bytes->data, bytes->len) >= 0)
        return VIR_TPM_HELPER_EXIT_DONE;

    virReportSystemError(errno, "%s", _("cannot write the state of a TPM"));
    return virTPMHelperReportFailed();
}


/* Of a TPM 1.2 no more is learned than that it opens. */
static virTPMHelperExit
virTPMHelperInspectState(const virTPMHelper *helper,
                         virTPMHelperSwtpm *swtpm)
{
    g_autoptr(virStorageVolTPMDef) found = g_new0(virStorageVolTPMDef, 1);

    found->version = helper->from.tpm2 ? VIR_DOMAIN_TPM_VERSION_2_0 : VIR_DOMAIN_TPM_VERSION_1_2;

    if (helper->from.tpm2 && virTPMHelperInspect(swtpm, found) < 0)
        return virTPMHelperReportSwtpm(swtpm, false);

    return virTPMHelperPrint(found);
}


static virTPMHelperExit
virTPMHelperDecryptState(const virTPMHelper *helper,
                         virTPMHelperSwtpm *swtpm)
{
    g_autoptr(virStorageTPMBytes) blob = virTPMHelperSwtpmGetPermanent(swtpm);

    if (!blob)
        return virTPMHelperReportSwtpm(swtpm, false);

    return virTPMHelperWrite(helper, blob);
}


/* The state is in clear only in memory. */
static virTPMHelperExit
virTPMHelperConvertState(const virTPMHelper *helper,
                         virTPMHelperSwtpm *source)
{
    g_autoptr(virStorageTPMBytes) blob = virTPMHelperSwtpmGetPermanent(source);
    g_autoptr(virTPMHelperSwtpm) target = NULL;
    g_autoptr(virStorageTPMBytes) converted = NULL;

    if (!blob)
        return virTPMHelperReportSwtpm(source, false);

    if (!(target = virTPMHelperSwtpmNew(&helper->to, NULL)) ||
        virTPMHelperSwtpmSetPermanent(target, blob) < 0 ||
        virTPMHelperSwtpmInit(target) < 0 ||
        !(converted = virTPMHelperSwtpmFinish(target)))
        return virTPMHelperReportSwtpm(target, true);

    return virTPMHelperWrite(helper, converted);
}


/* What the arguments may ask for, and what it needs. */
static const struct {
    const char *name;
    bool output;
    virTPMHelperExit (*func)(const virTPMHelper *helper,
                             virTPMHelperSwtpm *swtpm);
} virTPMHelperCommands[] = {
    { "inspect", false, virTPMHelperInspectState },
    { "convert", true, virTPMHelperConvertState },
    { "decrypt", true, virTPMHelperDecryptState },
};


static const char virTPMHelperUsage[] =
    "inspect|convert|decrypt --swtpm PATH --timeout SECONDS [--limit SECONDS] [--tpm2] [--dir DIR]"
    " --state FD [--key FD] [--output FD] [--output-key FD]";


static virTPMHelperExit
virTPMHelperRun(const virTPMHelper *helper,
                size_t command)
{
    g_autoptr(virStorageTPMBytes) bytes = virStorageTPMBytesRead(helper->state, "state");
    g_autoptr(virTPMHelperSwtpm) swtpm = NULL;

    if (!bytes)
        return virTPMHelperReportFailed();

    if (!(swtpm = virTPMHelperSwtpmNew(&helper->from, bytes)) ||
        virTPMHelperSwtpmInit(swtpm) < 0)
        return virTPMHelperReportSwtpm(swtpm, false);

    return virTPMHelperCommands[command].func(helper, swtpm);
}


/* It does not outlive the daemon, or its time; it leaves no memory on a disk, and
 * fills none. All of that holds for swtpm as well, but for the first two: it ends when
 * nobody talks to it. */
static void
virTPMHelperConfine(unsigned int limit)
{
    const struct rlimit none = { 0, 0 };
    const struct rlimit most = { VIR_TPM_STATE_MAX_SIZE, VIR_TPM_STATE_MAX_SIZE };

    ignore_value(prctl(PR_SET_PDEATHSIG, SIGKILL));
    ignore_value(setrlimit(RLIMIT_CORE, &none));
    ignore_value(setrlimit(RLIMIT_FSIZE, &most));
    ignore_value(alarm(limit));
}


/* Returns 0 on success, -1 if it is no number. */
static int
virTPMHelperParseOption(virTPMHelper *helper,
                        const char *name,
                        const char *value)
{
    unsigned int number;

    if (STREQ(name, "tpm2")) {
        helper->from.tpm2 = true;
        return 0;
    }
    if (STREQ(name, "swtpm")) {
        helper->from.binary = value;
        return 0;
    }
    if (STREQ(name, "dir")) {
        helper->from.dir = value;
        return 0;
    }

    if (virStrToLong_uip(value, NULL, 10, &number) < 0 || number > INT_MAX)
        return -1;

    if (STREQ(name, "timeout"))
        helper->from.timeout = number;
    else if (STREQ(name, "limit"))
        helper->limit = number;
    else if (STREQ(name, "state"))
        helper->state = number;
    else if (STREQ(name, "key"))
        helper->from.key = number;
    else if (STREQ(name, "output"))
        helper->output = number;
    else if (STREQ(name, "output-key"))
        helper->to.key = number;
    return 0;
}


/* Returns the index of the command, or -1 if the arguments are wrong. */
static int
virTPMHelperParse(virTPMHelper *helper,
                  int argc,
                  char **argv)
{
    const struct option options[] = {
        { "swtpm", required_argument, NULL, 0 },
        { "timeout", required_argument, NULL, 0 },
        { "limit", required_argument, NULL, 0 },
        { "tpm2", no_argument, NULL, 0 },
        { "dir", required_argument, NULL, 0 },
        { "state", required_argument, NULL, 0 },
        { "key", required_argument, NULL, 0 },
        { "output", required_argument, NULL, 0 },
        { "output-key", required_argument, NULL, 0 },
        { NULL, 0, NULL, 0 },
    };
    const char *asked = argc > 1 ? argv[1] : "";
    size_t i;
    int rc;
    int option = 0;

    optind = 2;
    while ((rc = getopt_long(argc, argv, "", options, &option)) == 0) {
        if (virTPMHelperParseOption(helper, options[option].name, optarg) < 0)
            return -1;
    }

    for (i = 0; i < G_N_ELEMENTS(virTPMHelperCommands); i++) {
        bool output = virTPMHelperCommands[i].output;

        if (STREQ(virTPMHelperCommands[i].name, asked) &&
            rc == -1 && optind >= argc && helper->from.binary && helper->from.timeout > 0 &&
            helper->state >= 0 && (helper->output >= 0) == output)
            return i;
    }

    return -1;
}


int
main(int argc,
     char **argv)
{
    virTPMHelper helper = {
        .from.key = -1, .to.key = -1, .state = -1, .output = -1,
    };
    int command;
    int key;

    if (virGettextInitialize() < 0 ||
        virErrorInitialize() < 0)
        return VIR_TPM_HELPER_EXIT_FAILED;

    /* swtpm may have ended when it is talked to */
    signal(SIGPIPE, SIG_IGN);

    if ((command = virTPMHelperParse(&helper, argc, argv)) < 0)
        return virTPMHelperReport(VIR_TPM_HELPER_EXIT_USAGE, virTPMHelperUsage);

    key = helper.to.key;
    helper.to = helper.from;
    helper.to.key = key;

    virTPMHelperConfine(helper.limit);
    return virTPMHelperRun(&helper, command);
}
