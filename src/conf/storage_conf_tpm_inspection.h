/*
 * storage_conf_tpm_inspection.h: <inspection> of a TPM volume
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a TPM has told when its volume was opened, as it stands in the volume's XML.
 */

#pragma once

#include "internal.h"
#include "virbitmap.h"
#include "virbuffer.h"
#include "virxml.h"

/* What a TPM tells of itself when it is opened. */
typedef struct _virStorageVolTPMInspection virStorageVolTPMInspection;
struct _virStorageVolTPMInspection {
    bool verified;              /* it has the endorsement keys that its volume names */
    virBitmap *activePcrBanks;  /* of virDomainTPMPcrBank; NULL if it does not tell */
    bool locked;                /* it refuses passwords, until some time has passed */
    unsigned int tries;         /* of wrong passwords */
    unsigned int limit;         /* of these; 0 if it does not tell */
    char *profile;              /* name of its profile; NULL if it does not tell */
    unsigned int formatLevel;   /* of its state; 0 if it does not tell */
    struct {
        bool told;
        unsigned int indices;           /* NV indices that are defined, of any kind */
        unsigned int objects;           /* keys and other objects that are persistent */
        unsigned int objectsAvailable;  /* estimate: how many more of the largest size */
        unsigned int counters;          /* NV indices that are counters */
        unsigned int countersAvailable; /* estimate: how many more */
    } nv;
};

/**
 * virStorageVolTPMInspectionFree:
 * @inspection: what a TPM tells, or NULL
 */
void virStorageVolTPMInspectionFree(virStorageVolTPMInspection *inspection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageVolTPMInspection, virStorageVolTPMInspectionFree);

/**
 * virStorageVolTPMInspectionParse:
 * @node: <inspection>
 *
 * Parses all but the PCR banks.
 *
 * Returns what it tells, or NULL with an error reported.
 */
virStorageVolTPMInspection *virStorageVolTPMInspectionParse(xmlNodePtr node)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMInspectionFormat:
 * @buf: output
 * @inspection: what a TPM tells, or NULL for no output
 */
void virStorageVolTPMInspectionFormat(virBuffer *buf,
                                      const virStorageVolTPMInspection *inspection)
    ATTRIBUTE_NONNULL(1);
