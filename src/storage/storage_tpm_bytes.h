/*
 * storage_tpm_bytes.h: the state of a TPM in memory
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is read from a volume or is to be written to one, between the store and what
 * looks at it.
 */

#pragma once

#include "internal.h"

/* The state of a TPM, as it stands in its volume. */
typedef struct _virStorageTPMBytes virStorageTPMBytes;
struct _virStorageTPMBytes {
    uint8_t *data;
    size_t len;
};

/**
 * virStorageTPMBytesFree:
 * @bytes: bytes, or NULL; they are overwritten
 */
void virStorageTPMBytesFree(virStorageTPMBytes *bytes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageTPMBytes, virStorageTPMBytesFree);

/**
 * virStorageTPMBytesRead:
 * @fd: descriptor of a file or block device, open for reading
 * @path: its name, for error messages
 *
 * Reads all of it, from its beginning.
 *
 * Returns the bytes, or NULL with an error reported; also if there are more
 * than VIR_TPM_STATE_MAX_SIZE.
 */
virStorageTPMBytes *virStorageTPMBytesRead(int fd,
                                           const char *path)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesReadSome:
 * @fd, @path: as for virStorageTPMBytesRead()
 * @most: how many bytes at most, from the beginning
 *
 * As virStorageTPMBytesRead(), for a file whose end is of no interest.
 *
 * Returns the bytes, or NULL with an error reported; also if the file has more than
 * VIR_TPM_STATE_MAX_SIZE.
 */
virStorageTPMBytes *virStorageTPMBytesReadSome(int fd,
                                               const char *path,
                                               size_t most)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesToMemory:
 * @bytes: bytes, or NULL for none
 *
 * Returns a descriptor of memory that holds them, in which they can be read
 * and written as in a file; -1 with an error reported.
 */
int virStorageTPMBytesToMemory(const virStorageTPMBytes *bytes)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMBytesFdPath:
 * @fd: descriptor
 *
 * Returns a path by which this process, and whatever it runs, reach the file
 * behind @fd as long as that is open, whatever its name stands for by then.
 */
char *virStorageTPMBytesFdPath(int fd)
    G_GNUC_WARN_UNUSED_RESULT;
