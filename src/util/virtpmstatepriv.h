/*
 * virtpmstatepriv.h: the linear file that swtpm keeps its state in
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The format of the file, and what reads and checks its header, for the two files that
 * know it: virtpmstate.c and virtpmstatelayout.c.
 */

#ifndef LIBVIRT_VIRTPMSTATEPRIV_H_ALLOW
# error "virtpmstatepriv.h may only be included by virtpmstate*.c"
#endif /* LIBVIRT_VIRTPMSTATEPRIV_H_ALLOW */

#pragma once

#include "virtpmstate.h"

/* Linear file: magic, u8 version, u8 padding, u16 size of the header, then an
 * entry of three u32 (offset, length of the data, length of the section) for
 * each section; offset 0 stands for "not there". */
#define VIR_TPM_STATE_LINEAR_MAGIC "nilmptws"
#define VIR_TPM_STATE_LINEAR_VERSION 1
#define VIR_TPM_STATE_LINEAR_SECTIONS 15
#define VIR_TPM_STATE_LINEAR_TABLE 12
#define VIR_TPM_STATE_LINEAR_ENTRY 12
#define VIR_TPM_STATE_LINEAR_HEADER \
    (VIR_TPM_STATE_LINEAR_TABLE + \
     VIR_TPM_STATE_LINEAR_SECTIONS * VIR_TPM_STATE_LINEAR_ENTRY)

#define VIR_TPM_STATE_BLOB_HEADER 10

typedef struct _virTPMStateSection virTPMStateSection;
struct _virTPMStateSection {
    uint64_t offset;
    uint64_t dataLength;
    uint64_t sectionLength;
};

/* A window on the file. What the probe looks at mostly fits in one. */
typedef struct _virTPMStateReader virTPMStateReader;
struct _virTPMStateReader {
    const uint8_t *bytes; /* the whole file, in place of @fd */
    int fd;
    uint64_t size;
    int err; /* errno of a read that failed; 0 if none did */

    uint64_t offset;
    size_t len;
    uint8_t buf[1024];
};

/**
 * virTPMStateIsPermanent:
 * @state: of a blob
 *
 * Returns whether the blob can be that of permanent state: a clear one tells its
 * version.
 */
bool virTPMStateIsPermanent(const virTPMState *state)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMStateReadSections:
 * @reader: a linear file
 * @sections: VIR_TPM_STATE_LINEAR_SECTIONS of them; filled in on success
 *
 * Reads what the header tells of the sections, and checks none of it.
 *
 * Returns true on success, false if there is no such header or it cannot be read.
 */
bool virTPMStateReadSections(virTPMStateReader *reader,
                             virTPMStateSection *sections)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * virTPMStateSectionsEnd:
 * @sections: VIR_TPM_STATE_LINEAR_SECTIONS of them
 * @first: the first that counts
 *
 * Returns the offset in bytes at which the last section ends.
 */
uint64_t virTPMStateSectionsEnd(const virTPMStateSection *sections,
                                size_t first)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMStateFindLost:
 * @reader: a linear file whose header has no permanent state
 * @sections: what the header has
 * @lost: set to where the first whole blob is
 * @found: set to what that blob is, with mendable set
 *
 * Before swtpm gives the permanent state a larger section it drops the entry from
 * the header: what is interrupted then has the state behind the header or behind
 * another section. Looks for a blob at these places.
 *
 * Returns whether a blob begins at one of them, whole or not.
 */
bool virTPMStateFindLost(virTPMStateReader *reader,
                         const virTPMStateSection *sections,
                         virTPMStateSection *lost,
                         virTPMState *found)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4);
