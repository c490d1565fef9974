/*
 * storage_conf_tpm.h: XML of tpm storage pools and their volumes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <tpm> of a volume, as a user gives it and as a volume is described, and what is different
 * in tpm pools: their default target, and the names and formats that their volumes may
 * have. No file is touched here.
 */

#pragma once

#include "internal.h"
#include "domain_conf.h"
#include "storage_conf.h"
#include "storage_conf_tpm_inspection.h"
#include "virtpmstate.h"

/* Capacity of a volume whose definition has none, and the largest, in bytes. */
#define VIR_STORAGE_VOL_TPM_CAPACITY_DEFAULT (1024ULL * 1024)
#define VIR_STORAGE_VOL_TPM_CAPACITY_MAX (16ULL * 1024 * 1024)

/* The name of a volume is NAME_MAX long at most, less what its sidecar's and a
 * temporary's name add to it, in bytes. */
#define VIR_STORAGE_VOL_TPM_NAME_MAX 230

/* The sidecar of volume NAME is NAME.tpm.xml. */
#define VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX ".tpm.xml"

typedef enum {
    VIR_STORAGE_VOL_TPM_NAME_GOOD,
    VIR_STORAGE_VOL_TPM_NAME_EMPTY,
    VIR_STORAGE_VOL_TPM_NAME_DOT,       /* begins with one, as temporaries do */
    VIR_STORAGE_VOL_TPM_NAME_LONG,
    VIR_STORAGE_VOL_TPM_NAME_CHARACTER, /* contains one that no volume's name may contain */
    VIR_STORAGE_VOL_TPM_NAME_SIDECAR,   /* is that of a sidecar */
} virStorageVolTPMName;

/**
 * virStorageVolTPMNameHasControlChars:
 * @name: name or path of a file
 *
 * Returns whether @name has a control character; newline and tab count as such, unlike
 * for virStringHasControlChars().
 */
bool virStorageVolTPMNameHasControlChars(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMNameClassify:
 * @name: name of a file
 *
 * Returns whether a volume may have that name, and if not why: no '/', comma
 * (it ends an option of swtpm), backslash (it breaks certificates) or control
 * character, not longer than VIR_STORAGE_VOL_TPM_NAME_MAX, not that of a
 * sidecar or temporary.
 */
virStorageVolTPMName virStorageVolTPMNameClassify(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMNameEscape:
 * @name: name of a file
 *
 * Returns the name as it can stand in an error message or a line of a log: control
 * characters, and all that is not ASCII in a name that is not UTF-8, are escaped.
 */
char *virStorageVolTPMNameEscape(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMNameCheck:
 * @name: name of a volume
 *
 * As virStorageVolTPMNameClassify().
 *
 * Returns 0 if a volume may have that name, -1 with an error reported otherwise.
 */
int virStorageVolTPMNameCheck(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/* What vol-create-from makes of its source. */
typedef enum {
    VIR_STORAGE_VOL_TPM_IDENTITY_DEFAULT, /* copy */
    VIR_STORAGE_VOL_TPM_IDENTITY_COPY,    /* the same TPM once more */
    VIR_STORAGE_VOL_TPM_IDENTITY_NEW,     /* a new TPM with the source's parameters */

    VIR_STORAGE_VOL_TPM_IDENTITY_LAST
} virStorageVolTPMIdentity;

VIR_ENUM_DECL(virStorageVolTPMIdentity);

/* An endorsement key (EK) of a TPM, as its manufacturer certified it. */
typedef struct _virStorageVolTPMEndorsement virStorageVolTPMEndorsement;
struct _virStorageVolTPMEndorsement {
    char *key;          /* algorithm and size: "rsa2048", "secp384r1" */
    char *fingerprint;  /* "sha256:" and the hash of the DER SubjectPublicKeyInfo in hex */
    char *certificate;  /* PEM */
};

struct _virStorageVolTPMDef {
    virDomainTPMVersion version;  /* DEFAULT when not given */
    virTristateBool manufacture;  /* NO: make a blank volume */
    virStorageVolTPMIdentity identity;

    bool hasuuid;
    unsigned char uuid[VIR_UUID_BUFLEN];  /* the identity of this TPM */

    virBitmap *activePcrBanks;  /* of virDomainTPMPcrBank; NULL for swtpm's default */
    struct {
        char *source;
        virDomainTPMProfileRemoveDisabled removeDisabled;
    } profile;

    size_t nendorsements;
    virStorageVolTPMEndorsement *endorsements;

    virStorageVolTPMInspection *inspection; /* NULL unless it was opened */
};

/**
 * virStorageVolTPMFormatIsSupported:
 * @format: a virStorageFileFormat
 *
 * Returns true if a tpm pool can make volumes of this format, false otherwise.
 */
bool virStorageVolTPMFormatIsSupported(int format);

/**
 * virStoragePoolTPMDefSetTarget:
 * @def: definition of a pool of any type
 *
 * Gives a tpm pool that has no target path the default one: the system's
 * directory for a privileged process, else the user's. Does nothing to a pool
 * that has a path or is of another type.
 */
void virStoragePoolTPMDefSetTarget(virStoragePoolDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMVersionFromState:
 * @version: what the bytes of a TPM's state tell
 *
 * Returns the version as XML names it; DEFAULT if the bytes do not tell.
 */
virDomainTPMVersion virStorageVolTPMVersionFromState(virTPMStateVersion version);

/**
 * virStorageVolTPMVersionOrDefault:
 * @version: the version that is asked for or known; DEFAULT for none
 *
 * Returns the version, or the one of a TPM of which none is told: 2.0.
 */
virDomainTPMVersion virStorageVolTPMVersionOrDefault(virDomainTPMVersion version);

/**
 * virStorageVolTPMGetSecret:
 * @encryption: encryption of a volume, or NULL
 *
 * Returns the secret that the volume is encrypted with, or NULL for none.
 */
const virSecretLookupTypeDef *virStorageVolTPMGetSecret(const virStorageEncryption *encryption)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMSecretIsSame:
 * @a, @b: what secrets are found by; NULL for none
 *
 * Returns whether both are found by the same uuid or usage, or are none.
 */
bool virStorageVolTPMSecretIsSame(const virSecretLookupTypeDef *a,
                                  const virSecretLookupTypeDef *b)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMDefFree:
 * @def: what a volume says of its TPM, or NULL
 */
void virStorageVolTPMDefFree(virStorageVolTPMDef *def);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageVolTPMDef, virStorageVolTPMDefFree);

/**
 * virStorageVolTPMDefCopy:
 * @def: what a volume says of its TPM
 *
 * Returns a copy of all that is in the description of a volume: not of what an
 * inspection has found.
 */
virStorageVolTPMDef *virStorageVolTPMDefCopy(const virStorageVolTPMDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMDefClearEndorsements:
 * @def: <tpm> of a volume
 *
 * Forgets the endorsement keys and their certificates, as for a volume whose
 * TPM is no more.
 */
void virStorageVolTPMDefClearEndorsements(virStorageVolTPMDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMDefClearLost:
 * @def: <tpm> of a volume that is blank, as its sidecar has it
 *
 * A volume that was made blank is described as the TPM that is to be brought
 * to it. One that is blank otherwise has lost its TPM, by a wipe that may not
 * be finished: forgets its endorsement keys.
 *
 * Returns whether there were any to forget.
 */
bool virStorageVolTPMDefClearLost(virStorageVolTPMDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMDefClearLearned:
 * @def: what a volume says of its TPM
 *
 * Forgets what is learned when a TPM is made, not asked for: its identity and
 * its endorsement keys.
 */
void virStorageVolTPMDefClearLearned(virStorageVolTPMDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMDefParse:
 * @pool: the pool that the volume belongs to, of any type
 * @root: <volume>
 * @vol: the volume, everything but its TPM parsed
 *
 * Parses <tpm> and applies what only volumes of a tpm pool have: the default
 * capacity and the meaning of <encryption format='default'>. Refuses <tpm> and
 * vtpm encryption in pools of other types.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageVolTPMDefParse(const virStoragePoolDef *pool,
                             xmlNodePtr root,
                             virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMDefParseInspected:
 * @xml: <tpm>, as virStorageVolTPMDefFormat() formats it
 *
 * Parses also <inspection>, which is ignored in a volume's XML.
 *
 * Returns what is said of the TPM, or NULL with an error reported.
 */
virStorageVolTPMDef *virStorageVolTPMDefParseInspected(const char *xml)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageVolTPMPcrBanksFormat:
 * @buf: output
 * @banks: of virDomainTPMPcrBank, or NULL for no output
 */
void virStorageVolTPMPcrBanksFormat(virBuffer *buf,
                                    virBitmap *banks)
    ATTRIBUTE_NONNULL(1);

/**
 * virStorageVolTPMDefFormat:
 * @buf: output
 * @def: what a volume says of its TPM, or NULL for no output
 */
void virStorageVolTPMDefFormat(virBuffer *buf,
                               const virStorageVolTPMDef *def)
    ATTRIBUTE_NONNULL(1);
