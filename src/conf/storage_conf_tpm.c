/*
 * storage_conf_tpm.c: XML of tpm storage pools and their volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Parses and formats <tpm> of a volume, refuses invalid combinations, and fills in what a
 * pool or volume is given if its XML does not say it. The parser of volumes calls it
 * for every volume: in a pool of another type <tpm> is refused.
 */

#include <config.h>

#include <unistd.h>

#include "configmake.h"
#include "storage_conf_tpm.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virstring.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_ENUM_IMPL(virStorageVolTPMIdentity,
              VIR_STORAGE_VOL_TPM_IDENTITY_LAST,
              "default", "copy", "new",
);


/* Of what the names in <tpm> consist, as in storagevol.rng. */
#define VIR_STORAGE_VOL_TPM_HEX_CHARS "0123456789abcdef"
#define VIR_STORAGE_VOL_TPM_KEY_CHARS VIR_STORAGE_VOL_TPM_HEX_CHARS "ghijklmnopqrstuvwxyz-"
#define VIR_STORAGE_VOL_TPM_PROFILE_CHARS \
    VIR_STORAGE_VOL_TPM_KEY_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZ.:"


static bool
virStorageVolTPMHasOnly(const char *text,
                        const char *chars)
{
    return *text && text[strspn(text, chars)] == '\0';
}


bool
virStorageVolTPMNameHasControlChars(const char *name)
{
    for (; *name; name++) {
        if (g_ascii_iscntrl(*name))
            return true;
    }

    return false;
}


virStorageVolTPMName
virStorageVolTPMNameClassify(const char *name)
{
    if (*name == '\0')
        return VIR_STORAGE_VOL_TPM_NAME_EMPTY;
    if (*name == '.')
        return VIR_STORAGE_VOL_TPM_NAME_DOT;
    if (strlen(name) > VIR_STORAGE_VOL_TPM_NAME_MAX)
        return VIR_STORAGE_VOL_TPM_NAME_LONG;
    /* what is not UTF-8 has no place in XML */
    if (strpbrk(name, "/,\\") || virStorageVolTPMNameHasControlChars(name) ||
        !g_utf8_validate(name, -1, NULL))
        return VIR_STORAGE_VOL_TPM_NAME_CHARACTER;
    if (virStringHasSuffix(name, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX))
        return VIR_STORAGE_VOL_TPM_NAME_SIDECAR;

    return VIR_STORAGE_VOL_TPM_NAME_GOOD;
}


char *
virStorageVolTPMNameEscape(const char *name)
{
    char keep[131] = "\"\\";
    size_t i;

    /* characters of UTF-8, quotes and backslashes can be shown */
    for (i = 0x80; i <= 0xff; i++)
        keep[i - 0x80 + 2] = i;

    return g_strescape(name, g_utf8_validate(name, -1, NULL) ? keep : NULL);
}


int
virStorageVolTPMNameCheck(const char *name)
{
    g_autofree char *escaped = virStorageVolTPMNameEscape(name);

    switch (virStorageVolTPMNameClassify(name)) {
    case VIR_STORAGE_VOL_TPM_NAME_GOOD:
        return 0;

    case VIR_STORAGE_VOL_TPM_NAME_EMPTY:
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("TPM volume name cannot be empty"));
        return -1;

    case VIR_STORAGE_VOL_TPM_NAME_DOT:
        virReportError(VIR_ERR_INVALID_ARG,
                       _("TPM volume name '%1$s' cannot begin with a dot"),
                       escaped);
        return -1;

    case VIR_STORAGE_VOL_TPM_NAME_LONG:
        virReportError(VIR_ERR_INVALID_ARG,
                       _("TPM volume name '%1$s' cannot be longer than %2$d bytes"),
                       escaped, VIR_STORAGE_VOL_TPM_NAME_MAX);
        return -1;

    case VIR_STORAGE_VOL_TPM_NAME_CHARACTER:
        virReportError(VIR_ERR_INVALID_ARG,
                       _("TPM volume name '%1$s' must be valid UTF-8 without slashes, commas, backslashes and control characters"),
                       escaped);
        return -1;

    case VIR_STORAGE_VOL_TPM_NAME_SIDECAR:
        virReportError(VIR_ERR_INVALID_ARG,
                       _("TPM volume name '%1$s' cannot end in '%2$s'"),
                       escaped, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX);
        return -1;
    }

    virReportEnumRangeError(virStorageVolTPMName, virStorageVolTPMNameClassify(name));
    return -1;
}


void
virStoragePoolTPMDefSetTarget(virStoragePoolDef *def)
{
    if (def->type != VIR_STORAGE_POOL_TPM || def->target.path)
        return;

    if (geteuid() == 0)
        def->target.path = g_strdup(LOCALSTATEDIR "/lib/libvirt/tpm");
    else
        def->target.path = g_build_filename(g_get_user_data_dir(), "libvirt", "tpm", NULL);
}


bool
virStorageVolTPMFormatIsSupported(int format)
{
    return format == VIR_STORAGE_FILE_RAW;
}


virDomainTPMVersion
virStorageVolTPMVersionFromState(virTPMStateVersion version)
{
    switch (version) {
    case VIR_TPM_STATE_VERSION_1_2:
        return VIR_DOMAIN_TPM_VERSION_1_2;
    case VIR_TPM_STATE_VERSION_2_0:
        return VIR_DOMAIN_TPM_VERSION_2_0;
    case VIR_TPM_STATE_VERSION_UNKNOWN:
    case VIR_TPM_STATE_VERSION_LAST:
        break;
    }

    return VIR_DOMAIN_TPM_VERSION_DEFAULT;
}


virDomainTPMVersion
virStorageVolTPMVersionOrDefault(virDomainTPMVersion version)
{
    return version == VIR_DOMAIN_TPM_VERSION_DEFAULT ? VIR_DOMAIN_TPM_VERSION_2_0 : version;
}


const virSecretLookupTypeDef *
virStorageVolTPMGetSecret(const virStorageEncryption *encryption)
{
    if (!encryption || encryption->nsecrets == 0)
        return NULL;

    return &encryption->secrets[0]->seclookupdef;
}


bool
virStorageVolTPMSecretIsSame(const virSecretLookupTypeDef *a,
                             const virSecretLookupTypeDef *b)
{
    virSecretLookupType type = a ? a->type : VIR_SECRET_LOOKUP_TYPE_NONE;

    if (type != (b ? b->type : VIR_SECRET_LOOKUP_TYPE_NONE))
        return false;

    switch (type) {
    case VIR_SECRET_LOOKUP_TYPE_UUID:
        return memcmp(a->u.uuid, b->u.uuid, VIR_UUID_BUFLEN) == 0;
    case VIR_SECRET_LOOKUP_TYPE_USAGE:
        return STREQ(a->u.usage, b->u.usage);
    case VIR_SECRET_LOOKUP_TYPE_NONE:
    case VIR_SECRET_LOOKUP_TYPE_LAST:
        break;
    }

    return true;
}


static void
virStorageVolTPMEndorsementClear(virStorageVolTPMEndorsement *endorsement)
{
    g_free(endorsement->key);
    g_free(endorsement->fingerprint);
    g_free(endorsement->certificate);
}


void
virStorageVolTPMDefClearEndorsements(virStorageVolTPMDef *def)
{
    size_t i;

    for (i = 0; i < def->nendorsements; i++)
        virStorageVolTPMEndorsementClear(&def->endorsements[i]);
    g_clear_pointer(&def->endorsements, g_free);
    def->nendorsements = 0;
}


bool
virStorageVolTPMDefClearLost(virStorageVolTPMDef *def)
{
    if (def->manufacture == VIR_TRISTATE_BOOL_NO || def->nendorsements == 0)
        return false;

    virStorageVolTPMDefClearEndorsements(def);
    return true;
}


void
virStorageVolTPMDefClearLearned(virStorageVolTPMDef *def)
{
    def->hasuuid = false;
    memset(def->uuid, 0, sizeof(def->uuid));
    virStorageVolTPMDefClearEndorsements(def);
}


void
virStorageVolTPMDefFree(virStorageVolTPMDef *def)
{
    if (!def)
        return;

    virStorageVolTPMDefClearLearned(def);
    virStorageVolTPMInspectionFree(def->inspection);
    virBitmapFree(def->activePcrBanks);
    g_free(def->profile.source);
    g_free(def);
}


virStorageVolTPMDef *
virStorageVolTPMDefCopy(const virStorageVolTPMDef *def)
{
    virStorageVolTPMDef *copy = g_new0(virStorageVolTPMDef, 1);
    size_t i;

    copy->version = def->version;
    copy->manufacture = def->manufacture;
    copy->identity = def->identity;
    copy->hasuuid = def->hasuuid;
    memcpy(copy->uuid, def->uuid, sizeof(copy->uuid));
    if (def->activePcrBanks)
        copy->activePcrBanks = virBitmapNewCopy(def->activePcrBanks);
    copy->profile.source = g_strdup(def->profile.source);
    copy->profile.removeDisabled = def->profile.removeDisabled;

    copy->nendorsements = def->nendorsements;
    copy->endorsements = g_new0(virStorageVolTPMEndorsement, def->nendorsements);
    for (i = 0; i < def->nendorsements; i++) {
        copy->endorsements[i].key = g_strdup(def->endorsements[i].key);
        copy->endorsements[i].fingerprint = g_strdup(def->endorsements[i].fingerprint);
        copy->endorsements[i].certificate = g_strdup(def->endorsements[i].certificate);
    }

    return copy;
}


/* This is read whenever a volume is looked at. That is why its elements are
 * looked for in the tree: XPath takes twice as long. */
static int
virStorageVolTPMDefParseUUID(xmlNodePtr tpm,
                             virStorageVolTPMDef *def)
{
    xmlNodePtr node = virXMLNodeGetSubelement(tpm, "uuid");
    g_autofree char *uuid = NULL;

    if (!node)
        return 0;

    if (!(uuid = virXMLNodeContentString(node)))
        return -1;

    if (virUUIDParse(uuid, def->uuid) < 0) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("malformed uuid '%1$s' of a TPM"), uuid);
        return -1;
    }

    def->hasuuid = true;
    return 0;
}


static int
virStorageVolTPMDefParsePcrBanks(xmlNodePtr tpm,
                                 virStorageVolTPMDef *def)
{
    xmlNodePtr node = virXMLNodeGetSubelement(tpm, "active_pcr_banks");
    g_autoptr(GPtrArray) nodes = NULL;
    size_t i;

    if (!node)
        return 0;

    nodes = virXMLNodeGetSubelementList(node, NULL);
    if (nodes->len > 0)
        def->activePcrBanks = virBitmapNew(0);

    for (i = 0; i < nodes->len; i++) {
        const char *name = (const char *)((xmlNodePtr)g_ptr_array_index(nodes, i))->name;
        int bank = virDomainTPMPcrBankTypeFromString(name);

        if (bank < 0) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("unknown PCR bank '%1$s' of a TPM"), name);
            return -1;
        }
        virBitmapSetBitExpand(def->activePcrBanks, bank);
    }

    return 0;
}


static int
virStorageVolTPMDefParseProfile(xmlNodePtr tpm,
                                virStorageVolTPMDef *def)
{
    xmlNodePtr node = virXMLNodeGetSubelement(tpm, "profile");

    if (!node)
        return 0;

    if (!(def->profile.source = virXMLPropStringRequired(node, "source")))
        return -1;

    if (!virStorageVolTPMHasOnly(def->profile.source, VIR_STORAGE_VOL_TPM_PROFILE_CHARS)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("invalid profile '%1$s' of a TPM: it must consist of letters, digits, dots, hyphens and colons"),
                       def->profile.source);
        return -1;
    }

    return virXMLPropEnum(node, "removeDisabled",
                          virDomainTPMProfileRemoveDisabledTypeFromString,
                          VIR_XML_PROP_NONZERO,
                          &def->profile.removeDisabled);
}


/* A key is named as the RNG has it; its fingerprint is a SHA-256 digest. */
static int
virStorageVolTPMEndorsementCheck(const virStorageVolTPMEndorsement *endorsement)
{
    const char *digits = STRSKIP(endorsement->fingerprint, "sha256:");

    if (!virStorageVolTPMHasOnly(endorsement->key, VIR_STORAGE_VOL_TPM_KEY_CHARS)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("invalid name '%1$s' of an endorsement key: it must consist of small letters, digits and hyphens"),
                       endorsement->key);
        return -1;
    }

    if (!digits || strlen(digits) != 64 ||
        !virStorageVolTPMHasOnly(digits, VIR_STORAGE_VOL_TPM_HEX_CHARS)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("invalid fingerprint '%1$s' of endorsement key '%2$s': expected 'sha256:' and 64 hexadecimal digits in lower case"),
                       endorsement->fingerprint, endorsement->key);
        return -1;
    }

    return 0;
}


static int
virStorageVolTPMDefParseEndorsements(xmlNodePtr tpm,
                                     virStorageVolTPMDef *def)
{
    g_autoptr(GPtrArray) nodes = virXMLNodeGetSubelementList(tpm, "endorsement");
    size_t i;

    def->endorsements = g_new0(virStorageVolTPMEndorsement, nodes->len);
    def->nendorsements = nodes->len;

    for (i = 0; i < nodes->len; i++) {
        virStorageVolTPMEndorsement *endorsement = &def->endorsements[i];
        xmlNodePtr node = g_ptr_array_index(nodes, i);

        if (!(endorsement->key = virXMLPropStringRequired(node, "key")) ||
            !(endorsement->fingerprint = virXMLPropStringRequired(node, "fingerprint")) ||
            virStorageVolTPMEndorsementCheck(endorsement) < 0)
            return -1;

        endorsement->certificate = virXMLNodeContentString(node);
    }

    return 0;
}


static int
virStorageVolTPMDefValidate(const virStorageVolTPMDef *def)
{
    if (def->version != VIR_DOMAIN_TPM_VERSION_1_2)
        return 0;

    if (def->activePcrBanks) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<active_pcr_banks> is not supported for TPM version 1.2"));
        return -1;
    }

    if (def->profile.source) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<profile> is not supported for TPM version 1.2"));
        return -1;
    }

    return 0;
}


static virStorageVolTPMDef *
virStorageVolTPMDefParseXML(xmlNodePtr node)
{
    g_autoptr(virStorageVolTPMDef) def = g_new0(virStorageVolTPMDef, 1);

    if (virXMLPropEnum(node, "version", virDomainTPMVersionTypeFromString,
                       VIR_XML_PROP_NONZERO, &def->version) < 0 ||
        virXMLPropTristateBool(node, "manufacture", VIR_XML_PROP_NONE,
                               &def->manufacture) < 0 ||
        virXMLPropEnum(node, "identity", virStorageVolTPMIdentityTypeFromString,
                       VIR_XML_PROP_NONZERO, &def->identity) < 0 ||
        virStorageVolTPMDefParseUUID(node, def) < 0 ||
        virStorageVolTPMDefParsePcrBanks(node, def) < 0 ||
        virStorageVolTPMDefParseProfile(node, def) < 0 ||
        virStorageVolTPMDefParseEndorsements(node, def) < 0 ||
        virStorageVolTPMDefValidate(def) < 0)
        return NULL;

    return g_steal_pointer(&def);
}


virStorageVolTPMDef *
virStorageVolTPMDefParseInspected(const char *xml)
{
    g_autoptr(xmlDoc) doc = virXMLParse(NULL, xml, "(tpm)", "tpm", NULL, NULL, false);
    g_autoptr(virStorageVolTPMDef) def = NULL;
    xmlNodePtr root;
    xmlNodePtr node;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);

    if (!(def = virStorageVolTPMDefParseXML(root)))
        return NULL;

    if ((node = virXMLNodeGetSubelement(root, "inspection")) &&
        !(def->inspection = virStorageVolTPMInspectionParse(node)))
        return NULL;

    return g_steal_pointer(&def);
}


static int
virStorageVolTPMDefRefuse(const virStoragePoolDef *pool,
                          xmlNodePtr node,
                          const virStorageVolDef *vol)
{
    if (node) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<tpm> of volume '%1$s' is not supported in pool '%2$s' of type '%3$s': use a pool of type 'tpm'"),
                       vol->name, NULLSTR(pool->name),
                       virStoragePoolTypeToString(pool->type));
        return -1;
    }

    if (vol->target.encryption &&
        vol->target.encryption->format == VIR_STORAGE_ENCRYPTION_FORMAT_VTPM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("encryption format 'vtpm' of volume '%1$s' is not supported in pool '%2$s' of type '%3$s': use a pool of type 'tpm'"),
                       vol->name, NULLSTR(pool->name),
                       virStoragePoolTypeToString(pool->type));
        return -1;
    }

    return 0;
}


int
virStorageVolTPMDefParse(const virStoragePoolDef *pool,
                         xmlNodePtr root,
                         virStorageVolDef *vol)
{
    xmlNodePtr node = virXMLNodeGetSubelement(root, "tpm");

    if (pool->type != VIR_STORAGE_POOL_TPM)
        return virStorageVolTPMDefRefuse(pool, node, vol);

    if (vol->target.capacity == 0) {
        vol->target.capacity = VIR_STORAGE_VOL_TPM_CAPACITY_DEFAULT;
        if (!vol->target.has_allocation)
            vol->target.allocation = vol->target.capacity;
    }

    if (vol->target.encryption &&
        vol->target.encryption->format == VIR_STORAGE_ENCRYPTION_FORMAT_DEFAULT)
        vol->target.encryption->format = VIR_STORAGE_ENCRYPTION_FORMAT_VTPM;

    if (!node)
        return 0;

    if (!(vol->tpm = virStorageVolTPMDefParseXML(node)))
        return -1;

    return 0;
}


void
virStorageVolTPMPcrBanksFormat(virBuffer *buf,
                               virBitmap *banks)
{
    g_auto(virBuffer) banksBuf = VIR_BUFFER_INIT_CHILD(buf);
    ssize_t bank = -1;

    if (!banks)
        return;

    while ((bank = virBitmapNextSetBit(banks, bank)) >= 0)
        virBufferAsprintf(&banksBuf, "<%s/>\n", virDomainTPMPcrBankTypeToString(bank));

    virXMLFormatElement(buf, "active_pcr_banks", NULL, &banksBuf);
}


static void
virStorageVolTPMDefFormatProfile(virBuffer *buf,
                                 const virStorageVolTPMDef *def)
{
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;

    virBufferEscapeString(&attrBuf, " source='%s'", def->profile.source);
    if (def->profile.removeDisabled)
        virBufferAsprintf(&attrBuf, " removeDisabled='%s'",
                          virDomainTPMProfileRemoveDisabledTypeToString(def->profile.removeDisabled));

    virXMLFormatElement(buf, "profile", &attrBuf, NULL);
}


/* The certificate's lines stand without indentation: they are PEM. */
static void
virStorageVolTPMDefFormatEndorsement(virBuffer *buf,
                                     const virStorageVolTPMEndorsement *endorsement)
{
    int indent = virBufferGetIndent(buf);

    virBufferEscapeString(buf, "<endorsement key='%s'", endorsement->key);
    virBufferEscapeString(buf, " fingerprint='%s'", endorsement->fingerprint);

    if (!endorsement->certificate || !*endorsement->certificate) {
        virBufferAddLit(buf, "/>\n");
        return;
    }

    virBufferAddLit(buf, ">");
    virBufferSetIndent(buf, 0);
    virBufferEscapeString(buf, "%s", endorsement->certificate);
    virBufferAddLit(buf, "</endorsement>\n");
    virBufferSetIndent(buf, indent);
}


void
virStorageVolTPMDefFormat(virBuffer *buf,
                          const virStorageVolTPMDef *def)
{
    g_auto(virBuffer) attrBuf = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) childBuf = VIR_BUFFER_INIT_CHILD(buf);
    size_t i;

    if (!def)
        return;

    if (def->version)
        virBufferAsprintf(&attrBuf, " version='%s'",
                          virDomainTPMVersionTypeToString(def->version));
    if (def->manufacture)
        virBufferAsprintf(&attrBuf, " manufacture='%s'",
                          virTristateBoolTypeToString(def->manufacture));
    if (def->identity)
        virBufferAsprintf(&attrBuf, " identity='%s'",
                          virStorageVolTPMIdentityTypeToString(def->identity));

    if (def->hasuuid) {
        char uuid[VIR_UUID_STRING_BUFLEN];

        virBufferAsprintf(&childBuf, "<uuid>%s</uuid>\n",
                          virUUIDFormat(def->uuid, uuid));
    }
    virStorageVolTPMPcrBanksFormat(&childBuf, def->activePcrBanks);
    virStorageVolTPMDefFormatProfile(&childBuf, def);
    for (i = 0; i < def->nendorsements; i++)
        virStorageVolTPMDefFormatEndorsement(&childBuf, &def->endorsements[i]);
    virStorageVolTPMInspectionFormat(&childBuf, def->inspection);

    virXMLFormatElement(buf, "tpm", &attrBuf, &childBuf);
}
