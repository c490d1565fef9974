/*
 * virtpmstate.h: recognise the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What some bytes are: TPM state of swtpm and whether that is whole, encrypted and of
 * which version; blank; or something else. To be asked before swtpm is run on them.
 */

#pragma once

#include "internal.h"
#include "virenum.h"

/* The largest file that is taken for TPM state or for blank, in bytes: others
 * pad state with zeros. */
#define VIR_TPM_STATE_MAX_SIZE (16ULL * 1024 * 1024)

/* The longest blob of state in bytes. That of libtpms' TPM 2.0 has less than 256
 * KiB, and swtpm from 0.10 on takes no more than 512 KiB. */
#define VIR_TPM_STATE_MAX_BLOB (1024ULL * 1024)

typedef enum {
    VIR_TPM_STATE_BLANK,     /* 0 bytes, only zeros, or a linear header without permanent state */
    VIR_TPM_STATE_LINEAR,    /* swtpm's linear file, whole, with permanent state */
    VIR_TPM_STATE_DAMAGED,   /* a linear file or blob that is cut short or contradicts itself,
                                or a linear file whose header has lost its permanent state */
    VIR_TPM_STATE_BLOB,      /* one bare state blob, as swtpm keeps in a directory; that it
                                is the permanent one only a known version tells */
    VIR_TPM_STATE_QCOW2,
    VIR_TPM_STATE_LUKS,
    VIR_TPM_STATE_UNKNOWN,   /* none of these, or larger than VIR_TPM_STATE_MAX_SIZE */

    VIR_TPM_STATE_LAST
} virTPMStateKind;

VIR_ENUM_DECL(virTPMStateKind);

typedef enum {
    VIR_TPM_STATE_VERSION_UNKNOWN, /* the bytes do not tell: blank, encrypted or foreign */
    VIR_TPM_STATE_VERSION_1_2,
    VIR_TPM_STATE_VERSION_2_0,

    VIR_TPM_STATE_VERSION_LAST
} virTPMStateVersion;

VIR_ENUM_DECL(virTPMStateVersion);

typedef struct _virTPMState virTPMState;
struct _virTPMState {
    virTPMStateKind kind;
    virTPMStateVersion version;
    bool encrypted; /* of VIR_TPM_STATE_LINEAR, VIR_TPM_STATE_BLOB and what is mendable */
    bool shortkey;  /* encrypted with AES-128 rather than AES-256 */
    bool mendable;  /* VIR_TPM_STATE_DAMAGED, but the whole permanent state is there, and
                       virTPMStateToLinear() gives it a header */
    size_t end;     /* of VIR_TPM_STATE_LINEAR: no data is behind that many bytes */
};

/**
 * virTPMStateProbe:
 * @fd: descriptor of a regular file, open for reading; its offset stays as it is
 * @path: the file's name, for error messages
 * @state: filled in on success
 *
 * Tells what the file behind @fd holds, from its bytes alone. Only reads, and
 * must come before every run of swtpm or swtpm_setup on a volume, because both
 * format what they do not know.
 *
 * Layout: swtpm's src/swtpm/swtpm_nvstore_linear.h (linear file, little-endian)
 * and src/swtpm/swtpm_nvstore.c (blob header and TLVs, big-endian); libtpms'
 * PERSISTENT_ALL magic for TPM 2.0.
 *
 * Returns 0 on success, whatever the file holds; -1 with an error reported if
 * it cannot be read.
 */
int virTPMStateProbe(int fd,
                     const char *path,
                     virTPMState *state)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateProbeBytes:
 * @data: @len bytes
 * @state: filled in
 *
 * As virTPMStateProbe(), of a file's content.
 */
void virTPMStateProbeBytes(const uint8_t *data,
                           size_t len,
                           virTPMState *state)
    ATTRIBUTE_NONNULL(3);

/**
 * virTPMStateHasState:
 * @state: what virTPMStateProbe() found
 *
 * Returns whether the bytes hold the state of a TPM, whole or damaged, in whichever
 * form.
 */
bool virTPMStateHasState(const virTPMState *state)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
