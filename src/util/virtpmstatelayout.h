/*
 * virtpmstatelayout.h: lay out the state of an emulated TPM in its file
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How TPM state is written so that swtpm neither moves nor resizes it, and how its blocks
 * are allocated so that a full file system cannot destroy it.
 */

#pragma once

#include "internal.h"

/* The section that the permanent state of a volume has, in bytes. No TPM outgrows
 * it, so that swtpm neither moves the state nor resizes the file. */
#define VIR_TPM_STATE_ROOM (256ULL * 1024)

/* What swtpm may need for volatile state, which it has in the file while QEMU reads
 * it, in bytes. */
#define VIR_TPM_STATE_VOLATILE_ROOM (64 * 1024)

/**
 * virTPMStateToLinear:
 * @data: @len bytes
 * @linearLen: set to the result's length in bytes
 *
 * Turns TPM state as swtpm and other programs keep it into the linear file that
 * every volume holds: the permanent state in a section of at least
 * VIR_TPM_STATE_ROOM bytes, and nothing else. Takes a linear file, one that is
 * damaged but mendable, and a bare blob of permanent state.
 *
 * Returns the linear file, or NULL without an error reported if the bytes are
 * none of these; to be cleared with virSecureErase() before freeing.
 */
uint8_t *virTPMStateToLinear(const uint8_t *data,
                             size_t len,
                             size_t *linearLen)
    ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateAllocate:
 * @fd: descriptor of a regular file, open for writing
 * @len: length in bytes
 *
 * Has blocks allocated for the first @len bytes of a file, which is made longer,
 * with zeros, if it is shorter. Where the file system cannot allocate, zeros are
 * written behind the file's end, and for its holes there must be free space, which
 * is not kept from others.
 *
 * Returns 0 on success, -errno otherwise.
 */
int virTPMStateAllocate(int fd,
                        uint64_t len)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateMakeRoom:
 * @fd: descriptor of a file, open for reading and writing, which nobody else uses
 * @len: set to the length in bytes that the file needs; left alone if the file cannot
 *       be read
 *
 * Gives the permanent state in a file a section of VIR_TPM_STATE_ROOM bytes
 * and has the file's blocks allocated, so that swtpm can write all of it whatever
 * becomes of the file system's free space. Drops the other sections: swtpm has
 * volatile state in the file while QEMU reads it, and one that was left there by
 * an interruption is that of an earlier boot, or not whole. A blank file gets an
 * empty section. Only VIR_TPM_STATE_LINEAR and VIR_TPM_STATE_BLANK may be passed.
 * The state is whole at every moment: its place stays, and the header is replaced
 * in one write.
 *
 * Returns 0 on success, -errno otherwise: -ENOSPC if there is no room.
 */
int virTPMStateMakeRoom(int fd,
                        uint64_t *len)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateReserve:
 * @fd: descriptor of a file, open for writing, which swtpm may use
 *
 * Has VIR_TPM_STATE_VOLATILE_ROOM bytes allocated behind the end of the file, which
 * stays where it is. To be called before QEMU reads the TPM: swtpm writes volatile
 * state there first, is killed by SIGBUS if there is no room, and gives the room
 * back afterwards. Where the file system cannot allocate, there must be free space,
 * which is not kept from others.
 *
 * Returns 0 on success, -errno otherwise: -ENOSPC if there is no room.
 */
int virTPMStateReserve(int fd)
    G_GNUC_WARN_UNUSED_RESULT;
