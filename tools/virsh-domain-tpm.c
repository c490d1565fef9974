/*
 * virsh-domain-tpm.c: commands that show a domain's TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>
#include "virsh-domain-tpm.h"
#include "virsh-util.h"

#include "internal.h"
#include "virxml.h"
#include "vsh-table.h"

/*
 * "domtpmlist" command
 */
const vshCmdInfo info_domtpmlist = {
    .help = N_("list all TPMs of a domain"),
    .desc = N_("Get the summary of TPM devices for a domain."),
};

const vshCmdOptDef opts_domtpmlist[] = {
    VIRSH_COMMON_OPT_DOMAIN_FULL(0),
    {.name = "inactive",
     .type = VSH_OT_BOOL,
     .help = N_("get inactive rather than running configuration")
    },
    {.name = NULL}
};


static int
virshDomainTPMAppendRow(vshTable *table,
                        xmlXPathContextPtr ctxt)
{
    g_autofree char *model = virXPathString("string(./@model)", ctxt);
    g_autofree char *backend = virXPathString("string(./backend/@type)", ctxt);
    g_autofree char *version = virXPathString("string(./backend/@version)", ctxt);
    g_autofree char *pool = virXPathString("string(./storage/@pool)", ctxt);
    g_autofree char *source = virXPathString("string(./storage/@volume"
                                             "|./backend/source/@path"
                                             "|./backend/device/@path)", ctxt);

    return vshTableRowAppend(table,
                             NULLSTR_MINUS(model),
                             NULLSTR_MINUS(backend),
                             NULLSTR_MINUS(version),
                             NULLSTR_MINUS(pool),
                             NULLSTR_MINUS(source),
                             NULL);
}


bool
cmdDomtpmlist(vshControl *ctl,
              const vshCmd *cmd)
{
    unsigned int flags = 0;
    g_autoptr(xmlDoc) xmldoc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autoptr(vshTable) table = NULL;
    g_autofree xmlNodePtr *tpms = NULL;
    int ntpms;
    size_t i;

    if (vshCommandOptBool(cmd, "inactive"))
        flags |= VIR_DOMAIN_XML_INACTIVE;

    if (virshDomainGetXML(ctl, cmd, flags, &xmldoc, &ctxt) < 0)
        return false;

    if ((ntpms = virXPathNodeSet("./devices/tpm", ctxt, &tpms)) < 0)
        return false;

    table = vshTableNew(_("Model"), _("Backend"), _("Version"), _("Pool"), _("Source"), NULL);

    if (!table)
        return false;

    for (i = 0; i < ntpms; i++) {
        ctxt->node = tpms[i];

        if (virshDomainTPMAppendRow(table, ctxt) < 0)
            return false;
    }

    vshTablePrintToStdout(table, ctl);

    return true;
}
