/*
 * domain_conf_tpm.h: XML of a domain's TPM that is on a storage volume
 *
 * What domain_conf.c calls to parse, format and compare <storage> of a <tpm>, and
 * what the drivers set and read there.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"
#include "domain_conf.h"

/* The pool of a <storage> that names none. */
#define VIR_DOMAIN_TPM_VOLUME_POOL_DEFAULT "tpm"

/**
 * virDomainTPMDefHasVolume:
 * @def: a TPM
 *
 * Returns whether the TPM's state is a volume of a storage pool. If so,
 * data.emulator.volume has its names.
 */
bool virDomainTPMDefHasVolume(const virDomainTPMDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virDomainTPMVolumeFind:
 * @def: domain definition
 *
 * Returns the domain's TPM that is on a storage volume, or NULL. A hypervisor has
 * one emulated TPM at most.
 */
virDomainTPMDef *virDomainTPMVolumeFind(const virDomainDef *def)
    ATTRIBUTE_NONNULL(1);

/**
 * virDomainTPMVolumeSetPath:
 * @emulator: emulated TPM on a volume
 * @path: path of the volume
 *
 * Sets where the volume is, and with it where swtpm finds the state: the file of a
 * raw volume is the state itself.
 */
void virDomainTPMVolumeSetPath(virDomainTPMEmulatorDef *emulator,
                               const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * virDomainTPMVolumeSetIdentity:
 * @emulator: emulated TPM on a volume
 * @uuid: which TPM is on the volume, VIR_UUID_BUFLEN bytes; NULL if that is not known
 */
void virDomainTPMVolumeSetIdentity(virDomainTPMEmulatorDef *emulator,
                                   const unsigned char *uuid)
    ATTRIBUTE_NONNULL(1);

/**
 * virDomainTPMVolumeImplyBackend:
 * @node: <tpm>
 *
 * Gives a <tpm> that has <storage> and no <backend> the one that is meant: the
 * emulator.
 */
void virDomainTPMVolumeImplyBackend(xmlNodePtr node)
    ATTRIBUTE_NONNULL(1);

/**
 * virDomainTPMVolumeParse:
 * @ctxt: XPath context, its node is <tpm>
 * @flags: bitwise-OR of virDomainDefParseFlags
 * @def: the TPM, its <backend> parsed
 *
 * Parses <storage>, if there is one, and what <source type='volume'> of the
 * backend says. Refuses whatever does not go with it.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virDomainTPMVolumeParse(xmlXPathContextPtr ctxt,
                            unsigned int flags,
                            virDomainTPMDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virDomainTPMVolumeFormatSource:
 * @buf: output, inside <backend>
 * @def: a TPM on a volume
 * @flags: bitwise-OR of virDomainDefFormatFlags
 */
void virDomainTPMVolumeFormatSource(virBuffer *buf,
                                    const virDomainTPMDef *def,
                                    unsigned int flags)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virDomainTPMVolumeFormatStorage:
 * @buf: output, inside <tpm>
 * @def: any TPM
 */
void virDomainTPMVolumeFormatStorage(virBuffer *buf,
                                     const virDomainTPMDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virDomainTPMVolumeValidate:
 * @def: any TPM
 *
 * Makes sure that the names in <storage> are such as a pool and a volume can
 * have.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virDomainTPMVolumeValidate(const virDomainTPMDef *def)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virDomainTPMVolumeCheckRedefine:
 * @old: definition of a domain
 * @def: what a client gives as its new one
 *
 * Refuses a domain that would leave the volume of its TPM for a state that
 * libvirt makes by itself: a client that writes only those elements that it
 * knows drops <storage> and <source>, and the guest would start with an empty
 * TPM. A domain without a TPM, or with one that has another <source>, is meant.
 *
 * Returns 0 if @def may replace @old, -1 with an error reported otherwise.
 */
int virDomainTPMVolumeCheckRedefine(const virDomainDef *old,
                                    const virDomainDef *def)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virDomainTPMVolumeVersionIsSame:
 * @src: emulated TPM of a domain
 * @dst: the same TPM in what is to replace the domain's definition
 *
 * Compares the versions. A TPM on a storage volume has no version in its definition
 * until it runs, if the user gave none: that is the same as any.
 *
 * Returns true if both have the same version, false otherwise.
 */
bool virDomainTPMVolumeVersionIsSame(const virDomainTPMDef *src,
                                     const virDomainTPMDef *dst)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virDomainTPMVolumeCheckABIStability:
 * @src: TPM of a domain
 * @dst: the same TPM in what is to replace the domain's definition
 *
 * Returns false, with an error reported, if both are on a volume and are known
 * to be different TPMs, or if the domain would leave its volume for a state that
 * libvirt makes.
 */
bool virDomainTPMVolumeCheckABIStability(const virDomainTPMDef *src,
                                         const virDomainTPMDef *dst)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virDomainTPMVolumeInheritIdentity:
 * @dst: domain definition that a user gave, for memory to be restored with it
 * @src: domain definition that belongs to the memory
 *
 * Lets @dst know which TPM the memory needs, if the user left that out.
 */
void virDomainTPMVolumeInheritIdentity(virDomainDef *dst,
                                       const virDomainDef *src)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virDomainTPMVolumeForgetIdentity:
 * @def: domain definition that becomes persistent
 *
 * Forgets which TPM is on a volume: a domain that boots takes what it finds.
 */
void virDomainTPMVolumeForgetIdentity(virDomainDef *def)
    ATTRIBUTE_NONNULL(1);
