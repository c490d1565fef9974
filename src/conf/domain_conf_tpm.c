/*
 * domain_conf_tpm.c: XML of a domain's TPM that is on a storage volume
 *
 * <storage pool='POOL' volume='VOLUME'/> becomes a virStorageSource of type
 * 'volume', as the <source> of a disk does. Pool and volume are what the user
 * gives. The path is filled in when the domain starts, and written to status XML
 * only. The identity of the TPM is written wherever the memory of the guest may
 * be: what is restored needs a volume of the same identity.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "domain_conf_tpm.h"
#include "storage_conf_tpm.h"
#include "virerror.h"
#include "virstring.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

/* What the volume decides, so that the domain has no say in it. */
static const struct {
    const char *xpath;
    const char *name;
} virDomainTPMVolumeProperties[] = {
    { "boolean(./backend/encryption)", "<encryption>" },
    { "boolean(./backend/active_pcr_banks)", "<active_pcr_banks>" },
    { "boolean(./backend/profile)", "<profile>" },
    { "boolean(./backend/@persistent_state)", "persistent_state" },
};


bool
virDomainTPMDefHasVolume(const virDomainTPMDef *def)
{
    return def->type == VIR_DOMAIN_TPM_TYPE_EMULATOR &&
        def->data.emulator.source_type == VIR_DOMAIN_TPM_SOURCE_TYPE_VOLUME;
}


void
virDomainTPMVolumeImplyBackend(xmlNodePtr node)
{
    xmlNodePtr backend;

    if (!virXMLNodeGetSubelement(node, "storage") ||
        virXMLNodeGetSubelement(node, "backend"))
        return;

    backend = xmlNewChild(node, NULL, BAD_CAST "backend", NULL);
    xmlNewProp(backend, BAD_CAST "type",
               BAD_CAST virDomainTPMBackendTypeToString(VIR_DOMAIN_TPM_TYPE_EMULATOR));
}


static int
virDomainTPMVolumeCheckProperties(xmlXPathContextPtr ctxt)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(virDomainTPMVolumeProperties); i++) {
        if (virXPathBoolean(virDomainTPMVolumeProperties[i].xpath, ctxt) <= 0)
            continue;

        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%1$s cannot be set for a TPM on a storage volume"),
                       virDomainTPMVolumeProperties[i].name);
        return -1;
    }

    return 0;
}


static int
virDomainTPMVolumeParseStorage(xmlNodePtr node,
                               virDomainTPMEmulatorDef *emulator)
{
    g_autoptr(virStorageSourcePoolDef) srcpool = g_new0(virStorageSourcePoolDef, 1);

    srcpool->pool = virXMLPropString(node, "pool");
    srcpool->volume = virXMLPropString(node, "volume");

    if (virStringIsEmpty(srcpool->volume)) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("<storage> of a TPM names no volume: create one in a pool of type 'tpm' and name it in 'volume'"));
        return -1;
    }

    if (!srcpool->pool)
        srcpool->pool = g_strdup(VIR_DOMAIN_TPM_VOLUME_POOL_DEFAULT);

    emulator->volume = virStorageSourceNew();
    emulator->volume->type = VIR_STORAGE_TYPE_VOLUME;
    emulator->volume->format = VIR_STORAGE_FILE_RAW; /* unless the storage driver says another */
    emulator->volume->srcpool = g_steal_pointer(&srcpool);
    return 0;
}


void
virDomainTPMVolumeSetIdentity(virDomainTPMEmulatorDef *emulator,
                              const unsigned char *uuid)
{
    char identity[VIR_UUID_STRING_BUFLEN];

    g_free(emulator->identity);
    emulator->identity = uuid ? g_strdup(virUUIDFormat(uuid, identity)) : NULL;
}


void
virDomainTPMVolumeSetPath(virDomainTPMEmulatorDef *emulator,
                          const char *path)
{
    g_free(emulator->volume->path);
    g_free(emulator->source_path);

    emulator->volume->path = g_strdup(path);
    emulator->source_path = g_strdup(path);
}


static int
virDomainTPMVolumeParseSource(xmlXPathContextPtr ctxt,
                              unsigned int flags,
                              virDomainTPMEmulatorDef *emulator)
{
    g_autofree char *path = g_steal_pointer(&emulator->source_path);
    g_autofree char *identity = virXPathString("string(./backend/source/@uuid)", ctxt);
    unsigned char uuid[VIR_UUID_BUFLEN];

    if (path && flags & VIR_DOMAIN_DEF_PARSE_VOLUME_TRANSLATED)
        virDomainTPMVolumeSetPath(emulator, path);

    if (!identity)
        return 0;

    if (virUUIDParse(identity, uuid) < 0) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("malformed uuid '%1$s' of the TPM on volume '%2$s'"),
                       identity, emulator->volume->srcpool->volume);
        return -1;
    }

    virDomainTPMVolumeSetIdentity(emulator, uuid);
    return 0;
}


int
virDomainTPMVolumeParse(xmlXPathContextPtr ctxt,
                        unsigned int flags,
                        virDomainTPMDef *def)
{
    virDomainTPMEmulatorDef *emulator = &def->data.emulator;
    xmlNodePtr node = virXPathNode("./storage[1]", ctxt);

    if (!node && virDomainTPMDefHasVolume(def)) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("<source type='volume'> of a TPM requires a <storage> that names the volume"));
        return -1;
    }

    if (!node)
        return 0;

    if (def->type != VIR_DOMAIN_TPM_TYPE_EMULATOR) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<storage> is only supported for a TPM with backend type 'emulator', not '%1$s'"),
                       virDomainTPMBackendTypeToString(def->type));
        return -1;
    }

    if (emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_DEFAULT &&
        emulator->source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_VOLUME) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("a TPM cannot have both <storage> and <source type='%1$s'>"),
                       virDomainTPMSourceTypeTypeToString(emulator->source_type));
        return -1;
    }

    emulator->source_type = VIR_DOMAIN_TPM_SOURCE_TYPE_VOLUME;

    if (virDomainTPMVolumeCheckProperties(ctxt) < 0 ||
        virDomainTPMVolumeParseStorage(node, emulator) < 0 ||
        virDomainTPMVolumeParseSource(ctxt, flags, emulator) < 0)
        return -1;

    return 0;
}


/* The identity goes wherever the guest's memory may go, but not into what a
 * running domain will be when it starts again. Only a running domain knows the
 * path of the volume: a saved image or a snapshot does not. */
static bool
virDomainTPMVolumeFormatsIdentity(const virDomainTPMEmulatorDef *emulator,
                                  unsigned int flags)
{
    return !(flags & VIR_DOMAIN_DEF_FORMAT_INACTIVE) ||
        flags & VIR_DOMAIN_DEF_FORMAT_MIGRATABLE ||
        !emulator->volume->path;
}


void
virDomainTPMVolumeFormatSource(virBuffer *buf,
                               const virDomainTPMDef *def,
                               unsigned int flags)
{
    const virDomainTPMEmulatorDef *emulator = &def->data.emulator;
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;

    virBufferAsprintf(&attrBuf, " type='%s'",
                      virDomainTPMSourceTypeTypeToString(emulator->source_type));

    if (virDomainTPMVolumeFormatsIdentity(emulator, flags))
        virBufferEscapeString(&attrBuf, " uuid='%s'", emulator->identity);

    if (flags & VIR_DOMAIN_DEF_FORMAT_VOLUME_TRANSLATED)
        virBufferEscapeString(&attrBuf, " path='%s'", emulator->volume->path);

    virXMLFormatElement(buf, "source", &attrBuf, NULL);
}


void
virDomainTPMVolumeFormatStorage(virBuffer *buf,
                                const virDomainTPMDef *def)
{
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;

    if (!virDomainTPMDefHasVolume(def))
        return;

    virBufferEscapeString(&attrBuf, " pool='%s'", def->data.emulator.volume->srcpool->pool);
    virBufferEscapeString(&attrBuf, " volume='%s'", def->data.emulator.volume->srcpool->volume);

    virXMLFormatElement(buf, "storage", &attrBuf, NULL);
}


int
virDomainTPMVolumeValidate(const virDomainTPMDef *def)
{
    const virStorageSourcePoolDef *src = NULL;

    if (!virDomainTPMDefHasVolume(def))
        return 0;

    src = def->data.emulator.volume->srcpool;

    if (virStringIsEmpty(src->pool)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("<storage> of the TPM on volume '%1$s' has an empty pool name: omit 'pool' to use pool '%2$s'"),
                       src->volume, VIR_DOMAIN_TPM_VOLUME_POOL_DEFAULT);
        return -1;
    }

    return virStorageVolTPMNameCheck(src->volume);
}


virDomainTPMDef *
virDomainTPMVolumeFind(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        if (virDomainTPMDefHasVolume(def->tpms[i]))
            return def->tpms[i];
    }

    return NULL;
}


int
virDomainTPMVolumeCheckRedefine(const virDomainDef *old,
                                const virDomainDef *def)
{
    const virDomainTPMDef *volume = virDomainTPMVolumeFind(old);
    size_t i;

    if (!volume)
        return 0;

    for (i = 0; i < def->ntpms; i++) {
        const virDomainTPMDef *tpm = def->tpms[i];

        if (tpm->type != VIR_DOMAIN_TPM_TYPE_EMULATOR ||
            tpm->data.emulator.source_type != VIR_DOMAIN_TPM_SOURCE_TYPE_DEFAULT)
            continue;

        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("new definition of domain '%1$s' would replace its TPM on volume '%2$s' of pool '%3$s' by an empty one: keep <storage> and <source>, or remove the TPM from the domain first"),
                       def->name, volume->data.emulator.volume->srcpool->volume,
                       volume->data.emulator.volume->srcpool->pool);
        return -1;
    }

    return 0;
}


bool
virDomainTPMVolumeVersionIsSame(const virDomainTPMDef *src,
                                const virDomainTPMDef *dst)
{
    virDomainTPMVersion from = src->data.emulator.version;
    virDomainTPMVersion to = dst->data.emulator.version;

    if (from == to)
        return true;

    return (virDomainTPMDefHasVolume(src) && from == VIR_DOMAIN_TPM_VERSION_DEFAULT) ||
        (virDomainTPMDefHasVolume(dst) && to == VIR_DOMAIN_TPM_VERSION_DEFAULT);
}


bool
virDomainTPMVolumeCheckABIStability(const virDomainTPMDef *src,
                                    const virDomainTPMDef *dst)
{
    const char *source = src->data.emulator.identity;
    const char *target = dst->data.emulator.identity;

    if (!virDomainTPMDefHasVolume(src))
        return true;

    if (!virDomainTPMDefHasVolume(dst)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("source TPM is on volume '%1$s' of pool '%2$s', but target TPM is not on a volume"),
                       src->data.emulator.volume->srcpool->volume,
                       src->data.emulator.volume->srcpool->pool);
        return false;
    }

    if (!source || !target || STREQ(source, target))
        return true;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("target TPM identity '%1$s' does not match source '%2$s'"),
                   target, source);
    return false;
}


void
virDomainTPMVolumeInheritIdentity(virDomainDef *dst,
                                  const virDomainDef *src)
{
    size_t i;

    for (i = 0; i < MIN(dst->ntpms, src->ntpms); i++) {
        virDomainTPMEmulatorDef *to = &dst->tpms[i]->data.emulator;
        const virDomainTPMEmulatorDef *from = &src->tpms[i]->data.emulator;

        if (!virDomainTPMDefHasVolume(dst->tpms[i]) ||
            !virDomainTPMDefHasVolume(src->tpms[i]) ||
            to->identity)
            continue;

        to->identity = g_strdup(from->identity);
    }
}


void
virDomainTPMVolumeForgetIdentity(virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ntpms; i++) {
        if (virDomainTPMDefHasVolume(def->tpms[i]))
            virDomainTPMVolumeSetIdentity(&def->tpms[i]->data.emulator, NULL);
    }
}
