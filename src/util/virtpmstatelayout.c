/*
 * virtpmstatelayout.c: lay out the state of an emulated TPM in its file
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * swtpm moves and resizes a section that has become too small, and loses the state if
 * it is interrupted or the file system is full then. Here the permanent state gets a
 * section that no TPM outgrows, whose blocks are allocated before swtpm is run.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#ifndef WIN32
# include <sys/statvfs.h>
#endif
#include <unistd.h>

#include "virfile.h"
#include "virsecureerase.h"
#include "virtpmstatelayout.h"
#define LIBVIRT_VIRTPMSTATEPRIV_H_ALLOW
#include "virtpmstatepriv.h"

/* swtpm gives a section a power of two. */
static uint64_t
virTPMStateSectionLength(uint64_t dataLength)
{
    uint64_t len = VIR_TPM_STATE_ROOM;

    while (len < dataLength)
        len *= 2;

    return len;
}


/* What virTPMStateReadSections() reads. */
static void
virTPMStateFormatHeader(const virTPMStateSection *sections,
                        uint8_t *header)
{
    uint8_t *next = header + VIR_TPM_STATE_LINEAR_TABLE;
    size_t i;
    size_t j;

    memset(header, 0, VIR_TPM_STATE_LINEAR_HEADER);
    memcpy(header, VIR_TPM_STATE_LINEAR_MAGIC, 8);
    header[8] = VIR_TPM_STATE_LINEAR_VERSION;
    header[10] = VIR_TPM_STATE_LINEAR_HEADER & 0xff;
    header[11] = VIR_TPM_STATE_LINEAR_HEADER >> 8;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        const uint64_t entry[] = {
            sections[i].offset, sections[i].dataLength, sections[i].sectionLength,
        };

        for (j = 0; j < G_N_ELEMENTS(entry); j++) {
            uint32_t le = GUINT32_TO_LE((uint32_t)entry[j]);

            memcpy(next, &le, sizeof(le));
            next += sizeof(le);
        }
    }
}


/* A linear file of the permanent state that is in @data. What else swtpm has in a
 * file is left out, see virTPMStateMakeRoom(). */
static uint8_t *
virTPMStateLayOut(const uint8_t *data,
                  const virTPMStateSection *permanent,
                  size_t *linearLen)
{
    virTPMStateSection laid[VIR_TPM_STATE_LINEAR_SECTIONS] = { 0 };
    uint8_t *linear;

    laid[0].offset = VIR_TPM_STATE_LINEAR_HEADER;
    laid[0].dataLength = permanent->dataLength;
    laid[0].sectionLength = virTPMStateSectionLength(permanent->dataLength);

    *linearLen = laid[0].offset + laid[0].sectionLength;
    linear = g_new0(uint8_t, *linearLen);
    virTPMStateFormatHeader(laid, linear);
    memcpy(linear + laid[0].offset, data + permanent->offset, permanent->dataLength);

    return linear;
}


/* Finds the sections of what can become a linear file. */
static bool
virTPMStateFindSections(const uint8_t *data,
                        size_t len,
                        virTPMStateSection *sections)
{
    virTPMStateReader reader = { .bytes = data, .fd = -1, .size = len };
    virTPMState state;
    virTPMState found = { 0 };

    virTPMStateProbeBytes(data, len, &state);

    if (state.kind == VIR_TPM_STATE_BLOB && virTPMStateIsPermanent(&state)) {
        sections[0].dataLength = len;
        return true;
    }

    if (state.kind != VIR_TPM_STATE_LINEAR && !state.mendable)
        return false;

    return virTPMStateReadSections(&reader, sections) &&
        (!state.mendable || virTPMStateFindLost(&reader, sections, &sections[0], &found));
}


uint8_t *
virTPMStateToLinear(const uint8_t *data,
                    size_t len,
                    size_t *linearLen)
{
    virTPMStateSection sections[VIR_TPM_STATE_LINEAR_SECTIONS] = { 0 };
    uint8_t *linear;
    virTPMState state;

    if (!virTPMStateFindSections(data, len, sections))
        return NULL;

    linear = virTPMStateLayOut(data, &sections[0], linearLen);
    virTPMStateProbeBytes(linear, *linearLen, &state);

    if (state.kind == VIR_TPM_STATE_LINEAR)
        return linear;

    virSecureErase(linear, *linearLen);
    g_free(linear);
    return NULL;
}


#ifndef WIN32

static int
virTPMStateWriteAt(int fd,
                   const uint8_t *data,
                   size_t len,
                   uint64_t offset)
{
    while (len > 0) {
        ssize_t done = pwrite(fd, data, len, offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;

        data += done;
        len -= done;
        offset += done;
    }

    return 0;
}


/* Returns 0 if the file system has so much room, or does not tell how large it is, as some
 * network file systems do. */
static int
virTPMStateCheckSpace(int fd,
                      uint64_t needed)
{
    struct statvfs fs;

    if (fstatvfs(fd, &fs) < 0)
        return -errno;

    return fs.f_blocks > 0 && (uint64_t)fs.f_bavail * fs.f_frsize < needed ? -ENOSPC : 0;
}


/* For a file system that cannot allocate. */
static int
virTPMStateAllocateByWriting(int fd,
                             uint64_t len)
{
    const uint8_t zeros[1024] = { 0 };
    struct stat st;
    uint64_t allocated;
    uint64_t offset;
    int rc;

    if (fstat(fd, &st) < 0)
        return -errno;

    allocated = (uint64_t)st.st_blocks * 512;
    if (allocated < len && (rc = virTPMStateCheckSpace(fd, len - allocated)) < 0)
        return rc;

    for (offset = st.st_size; offset < len; offset += sizeof(zeros)) {
        if ((rc = virTPMStateWriteAt(fd, zeros, MIN(sizeof(zeros), len - offset),
                                     offset)) < 0)
            return rc;
    }

    return 0;
}


int
virTPMStateAllocate(int fd,
                    uint64_t len)
{
    struct stat st;
# if WITH_FALLOCATE - 0
    int rc;
# endif /* WITH_FALLOCATE */

    if (fstat(fd, &st) < 0)
        return -errno;

    /* a file that has its blocks is left alone, with its times */
    if (st.st_size >= len && (uint64_t)st.st_blocks * 512 >= len)
        return 0;

# if WITH_FALLOCATE - 0

    while ((rc = fallocate(fd, 0, 0, len)) < 0 && errno == EINTR)
        ;

    if (rc == 0)
        return 0;

    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
# endif /* WITH_FALLOCATE */

    return virTPMStateAllocateByWriting(fd, len);
}


/* Has blocks allocated behind the end of a file, at @end, which stays where it is. */
static int
virTPMStateAllocateBehind(int fd,
                          uint64_t end)
{
# if WITH_FALLOCATE - 0
    int rc;

    while ((rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, end,
                           VIR_TPM_STATE_VOLATILE_ROOM)) < 0 && errno == EINTR)
        ;

    if (rc == 0)
        return 0;

    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
# endif /* WITH_FALLOCATE */

    return virTPMStateCheckSpace(fd, VIR_TPM_STATE_VOLATILE_ROOM);
}


/* Gives the permanent state its room, and drops what else there is. Returns whether
 * that changes anything. */
static bool
virTPMStatePlanRoom(virTPMStateSection *sections)
{
    virTPMStateSection *permanent = &sections[0];
    bool alone = virTPMStateSectionsEnd(sections, 1) == VIR_TPM_STATE_LINEAR_HEADER;

    if (alone && permanent->offset != 0 && permanent->sectionLength >= VIR_TPM_STATE_ROOM)
        return false;

    memset(&sections[1], 0, sizeof(*sections) * (VIR_TPM_STATE_LINEAR_SECTIONS - 1));

    if (permanent->dataLength == 0)
        permanent->offset = VIR_TPM_STATE_LINEAR_HEADER;
    permanent->sectionLength = MAX(permanent->sectionLength, VIR_TPM_STATE_ROOM);
    return true;
}


/* An empty section must not begin with a blob that was in another, or the volume would
 * no longer look blank. */
static int
virTPMStateWriteHeader(int fd,
                       const virTPMStateSection *sections)
{
    uint8_t header[VIR_TPM_STATE_LINEAR_HEADER + VIR_TPM_STATE_BLOB_HEADER] = { 0 };
    size_t len = sections[0].dataLength == 0 ? sizeof(header) : VIR_TPM_STATE_LINEAR_HEADER;
    int rc;

    virTPMStateFormatHeader(sections, header);
    if ((rc = virTPMStateWriteAt(fd, header, len, 0)) < 0)
        return rc;

    return virFileDataSync(fd) < 0 ? -errno : 0;
}


int
virTPMStateMakeRoom(int fd,
                    uint64_t *len)
{
    g_autofree virTPMStateReader *reader = g_new0(virTPMStateReader, 1);
    virTPMStateSection sections[VIR_TPM_STATE_LINEAR_SECTIONS] = { 0 };
    struct stat st;
    bool changed;
    int rc;

    if (fstat(fd, &st) < 0)
        return -errno;

    reader->fd = fd;
    reader->size = st.st_size;
    /* what is blank may have no header */
    ignore_value(virTPMStateReadSections(reader, sections));
    if (reader->err != 0)
        return -reader->err;

    changed = virTPMStatePlanRoom(sections);
    *len = virTPMStateSectionsEnd(sections, 0);

    if ((rc = virTPMStateAllocate(fd, *len)) < 0)
        return rc;

    return changed ? virTPMStateWriteHeader(fd, sections) : 0;
}


int
virTPMStateReserve(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? -errno : virTPMStateAllocateBehind(fd, st.st_size);
}

#else /* WIN32 */

int
virTPMStateAllocate(int fd G_GNUC_UNUSED,
                    uint64_t len G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateMakeRoom(int fd G_GNUC_UNUSED,
                    uint64_t *len G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateReserve(int fd G_GNUC_UNUSED)
{
    return -ENOSYS;
}

#endif /* WIN32 */
