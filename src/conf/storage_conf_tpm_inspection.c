/*
 * storage_conf_tpm_inspection.c: <inspection> of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a TPM tells of itself when it is opened. The storage driver shows it to users,
 * and reads it from libvirt_tpmhelper; users' XML may have it, where it is ignored.
 */

#include <config.h>

#include "storage_conf_tpm.h"
#include "storage_conf_tpm_inspection.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


void
virStorageVolTPMInspectionFree(virStorageVolTPMInspection *inspection)
{
    if (!inspection)
        return;

    virBitmapFree(inspection->activePcrBanks);
    g_free(inspection->profile);
    g_free(inspection);
}


static int
virStorageVolTPMInspectionParseLockout(xmlNodePtr node,
                                       virStorageVolTPMInspection *inspection)
{
    virTristateBool locked;

    if (!node)
        return 0;

    if (virXMLPropTristateBool(node, "active", VIR_XML_PROP_REQUIRED, &locked) < 0 ||
        virXMLPropUInt(node, "tries", 10, VIR_XML_PROP_REQUIRED, &inspection->tries) < 0 ||
        virXMLPropUInt(node, "limit", 10, VIR_XML_PROP_REQUIRED, &inspection->limit) < 0)
        return -1;

    inspection->locked = locked == VIR_TRISTATE_BOOL_YES;
    return 0;
}


static int
virStorageVolTPMInspectionParseProfile(xmlNodePtr node,
                                       virStorageVolTPMInspection *inspection)
{
    if (!node)
        return 0;

    if (!(inspection->profile = virXMLPropStringRequired(node, "name")))
        return -1;

    return virXMLPropUInt(node, "formatLevel", 10, VIR_XML_PROP_NONE, &inspection->formatLevel);
}


static int
virStorageVolTPMInspectionParseNV(xmlNodePtr node,
                                  virStorageVolTPMInspection *inspection)
{
    if (!node)
        return 0;

    if (virXMLPropUInt(node, "indices", 10, VIR_XML_PROP_REQUIRED,
                       &inspection->nv.indices) < 0 ||
        virXMLPropUInt(node, "objects", 10, VIR_XML_PROP_REQUIRED,
                       &inspection->nv.objects) < 0 ||
        virXMLPropUInt(node, "objectsAvailable", 10, VIR_XML_PROP_REQUIRED,
                       &inspection->nv.objectsAvailable) < 0 ||
        virXMLPropUInt(node, "counters", 10, VIR_XML_PROP_REQUIRED,
                       &inspection->nv.counters) < 0 ||
        virXMLPropUInt(node, "countersAvailable", 10, VIR_XML_PROP_REQUIRED,
                       &inspection->nv.countersAvailable) < 0)
        return -1;

    inspection->nv.told = true;
    return 0;
}


virStorageVolTPMInspection *
virStorageVolTPMInspectionParse(xmlNodePtr node)
{
    g_autoptr(virStorageVolTPMInspection) inspection = g_new0(virStorageVolTPMInspection, 1);
    virTristateBool verified = VIR_TRISTATE_BOOL_NO;

    if (virXMLPropTristateBool(node, "verified", VIR_XML_PROP_NONE, &verified) < 0 ||
        virStorageVolTPMInspectionParseLockout(virXMLNodeGetSubelement(node, "lockout"),
                                               inspection) < 0 ||
        virStorageVolTPMInspectionParseProfile(virXMLNodeGetSubelement(node, "profile"),
                                               inspection) < 0 ||
        virStorageVolTPMInspectionParseNV(virXMLNodeGetSubelement(node, "nv"),
                                          inspection) < 0)
        return NULL;

    inspection->verified = verified == VIR_TRISTATE_BOOL_YES;
    return g_steal_pointer(&inspection);
}


static void
virStorageVolTPMInspectionFormatProfile(virBuffer *buf,
                                        const virStorageVolTPMInspection *inspection)
{
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;

    virBufferEscapeString(&attrBuf, " name='%s'", inspection->profile);
    if (inspection->formatLevel > 0)
        virBufferAsprintf(&attrBuf, " formatLevel='%u'", inspection->formatLevel);

    virXMLFormatElement(buf, "profile", &attrBuf, NULL);
}


void
virStorageVolTPMInspectionFormat(virBuffer *buf,
                                 const virStorageVolTPMInspection *inspection)
{
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) childBuf = VIR_BUFFER_INIT_CHILD(buf);

    if (!inspection)
        return;

    virBufferAsprintf(&attrBuf, " verified='%s'", inspection->verified ? "yes" : "no");
    virStorageVolTPMPcrBanksFormat(&childBuf, inspection->activePcrBanks);

    if (inspection->limit > 0)
        virBufferAsprintf(&childBuf, "<lockout active='%s' tries='%u' limit='%u'/>\n",
                          inspection->locked ? "yes" : "no",
                          inspection->tries, inspection->limit);

    if (inspection->profile)
        virStorageVolTPMInspectionFormatProfile(&childBuf, inspection);

    if (inspection->nv.told)
        virBufferAsprintf(&childBuf, "<nv indices='%u' objects='%u' objectsAvailable='%u'"
                                     " counters='%u' countersAvailable='%u'/>\n",
                          inspection->nv.indices,
                          inspection->nv.objects, inspection->nv.objectsAvailable,
                          inspection->nv.counters, inspection->nv.countersAvailable);

    virXMLFormatElement(buf, "inspection", &attrBuf, &childBuf);
}
