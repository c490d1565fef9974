/*
 * virtpmstate.c: recognise and lock the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#ifdef __linux__
# include <sys/vfs.h>
#endif
#ifndef WIN32
# include <sys/statvfs.h>
#endif
#include <unistd.h>

#include "viralloc.h"
#include "virendian.h"
#include "virerror.h"
#include "virfile.h"
#include "virsecureerase.h"
#include "virstring.h"
#include "virtpmstate.h"

#define VIR_FROM_THIS VIR_FROM_TPM

VIR_ENUM_IMPL(virTPMStateKind,
              VIR_TPM_STATE_LAST,
              "blank", "linear", "damaged", "blob", "qcow2", "luks", "unknown",
);

VIR_ENUM_IMPL(virTPMStateVersion,
              VIR_TPM_STATE_VERSION_LAST,
              "unknown", "1.2", "2.0",
);

#define VIR_TPM_STATE_QCOW2_MAGIC "QFI\xfb"
#define VIR_TPM_STATE_LUKS_MAGIC "LUKS\xba\xbe"

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

/* Blob: u8 version 2, u8 oldest version that can read it 1, u16 size of the
 * header 10, u16 flags, u32 length of the whole blob; then TLVs of u16 tag,
 * u32 length and as many bytes. */
#define VIR_TPM_STATE_BLOB_MAGIC "\x02\x01\x00\x0a"
#define VIR_TPM_STATE_BLOB_HEADER 10
#define VIR_TPM_STATE_TLV_HEADER 6

/* The other flags mark what swtpm_ioctl --save puts out for a migration: that
 * is wrapped once more, and swtpm cannot load it from a file. */
enum {
    VIR_TPM_STATE_BLOB_ENCRYPTED = 0x01,
    VIR_TPM_STATE_BLOB_KEY_256BIT = 0x08,
};

enum {
    VIR_TPM_STATE_TAG_DATA = 1,
    VIR_TPM_STATE_TAG_ENCRYPTED_DATA = 2,
    VIR_TPM_STATE_TAG_HMAC = 3,
};

/* The payload of a clear blob begins with u16 version, u32 magic in a TPM 2.0.
 * In a TPM 1.2 it begins with two u16 tags: format of the whole, then
 * TPM_TAG_PERMANENT_DATA. */
#define VIR_TPM_STATE_TPM2_MAGIC 0xab364723
#define VIR_TPM_STATE_TPM12_TAGS 0x00010022

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
    const char *path;
    uint64_t size;
    bool failed; /* an error has been reported */

    uint64_t offset;
    size_t len;
    uint8_t buf[1024];
};


#ifdef WIN32
static ssize_t
pread(int fd G_GNUC_UNUSED,
      void *buf G_GNUC_UNUSED,
      size_t count G_GNUC_UNUSED,
      off_t offset G_GNUC_UNUSED)
{
    errno = ENOSYS;
    return -1;
}
#endif /* WIN32 */


static int
virTPMStateReaderFill(virTPMStateReader *reader,
                      uint64_t offset)
{
    size_t want = MIN(sizeof(reader->buf), reader->size - offset);

    reader->offset = offset;
    reader->len = 0;

    while (reader->len < want) {
        ssize_t got = pread(reader->fd, reader->buf + reader->len,
                            want - reader->len, offset + reader->len);

        if (got < 0 && errno == EINTR)
            continue;

        if (got < 0) {
            virReportSystemError(errno, _("cannot read TPM state from '%1$s'"),
                                 reader->path);
            reader->failed = true;
            return -1;
        }

        /* it has been cut short since fstat() */
        if (got == 0)
            return 0;

        reader->len += got;
    }

    return 0;
}


/* Returns @len bytes of the file, at most sizeof(reader->buf) and valid until
 * the next call, or NULL if the file does not have them or cannot be read. */
static const uint8_t *
virTPMStateReaderGet(virTPMStateReader *reader,
                     uint64_t offset,
                     size_t len)
{
    if (reader->failed || len > reader->size || offset > reader->size - len)
        return NULL;

    if (reader->bytes)
        return reader->bytes + offset;

    if ((offset < reader->offset ||
         offset + len > reader->offset + reader->len) &&
        virTPMStateReaderFill(reader, offset) < 0)
        return NULL;

    if (offset + len > reader->offset + reader->len)
        return NULL;

    return reader->buf + (offset - reader->offset);
}


static bool
virTPMStateHasMagic(virTPMStateReader *reader,
                    const char *magic,
                    size_t len)
{
    const uint8_t *head = virTPMStateReaderGet(reader, 0, len);

    return head && memcmp(head, magic, len) == 0;
}


/* A large sparse file need not be read to be seen empty. */
static bool
virTPMStateIsHole(const virTPMStateReader *reader)
{
#ifdef SEEK_DATA
    off_t here = lseek(reader->fd, 0, SEEK_CUR);
    bool hole = here >= 0 && lseek(reader->fd, 0, SEEK_DATA) < 0 && errno == ENXIO;

    return lseek(reader->fd, here, SEEK_SET) >= 0 && hole;
#else /* !SEEK_DATA */
    return false;
#endif /* !SEEK_DATA */
}


static bool
virTPMStateIsZero(virTPMStateReader *reader)
{
    uint64_t offset = 0;

    if (virTPMStateIsHole(reader))
        return true;

    while (offset < reader->size) {
        size_t len = MIN(sizeof(reader->buf), reader->size - offset);
        const uint8_t *bytes = virTPMStateReaderGet(reader, offset, len);

        if (!bytes || bytes[0] != 0 || memcmp(bytes, bytes + 1, len - 1) != 0)
            return false;

        offset += len;
    }

    return true;
}


static virTPMStateVersion
virTPMStateProbeVersion(virTPMStateReader *reader,
                        uint64_t offset,
                        uint64_t len)
{
    const uint8_t *payload;

    if (len < 6 || !(payload = virTPMStateReaderGet(reader, offset, 6)))
        return VIR_TPM_STATE_VERSION_UNKNOWN;

    if (virReadBufInt32BE(payload + 2) == VIR_TPM_STATE_TPM2_MAGIC)
        return VIR_TPM_STATE_VERSION_2_0;

    if (virReadBufInt32BE(payload) == VIR_TPM_STATE_TPM12_TAGS)
        return VIR_TPM_STATE_VERSION_1_2;

    return VIR_TPM_STATE_VERSION_UNKNOWN;
}


/* Walks the TLVs from @offset, which must end exactly at @end. Fills in the
 * version that the clear data tell, and sets a bit in @tags for each tag. */
static bool
virTPMStateProbeTLVs(virTPMStateReader *reader,
                     uint64_t offset,
                     uint64_t end,
                     unsigned int *tags,
                     virTPMStateVersion *version)
{
    while (offset < end) {
        const uint8_t *tlv = virTPMStateReaderGet(reader, offset,
                                                  VIR_TPM_STATE_TLV_HEADER);
        uint16_t tag;
        uint64_t len;

        if (!tlv)
            return false;

        tag = virReadBufInt16BE(tlv);
        len = virReadBufInt32BE(tlv + 2);
        offset += VIR_TPM_STATE_TLV_HEADER;

        if (offset > end || len > end - offset)
            return false;

        /* swtpm takes the first of a kind */
        if (tag == VIR_TPM_STATE_TAG_DATA && !(*tags & (1U << tag)))
            *version = virTPMStateProbeVersion(reader, offset, len);

        if (tag <= VIR_TPM_STATE_TAG_HMAC)
            *tags |= 1U << tag;

        offset += len;
    }

    return true;
}


static bool
virTPMStateIsBlobHeader(const uint8_t *header)
{
    const uint16_t known = VIR_TPM_STATE_BLOB_ENCRYPTED |
                           VIR_TPM_STATE_BLOB_KEY_256BIT;

    return memcmp(header, VIR_TPM_STATE_BLOB_MAGIC, 4) == 0 &&
           (virReadBufInt16BE(header + 4) & ~known) == 0;
}


/* Whether a blob of permanent state lies at @offset and is exactly @len bytes
 * long. Fills in @state only if so. */
static bool
virTPMStateProbeBlob(virTPMStateReader *reader,
                     uint64_t offset,
                     uint64_t len,
                     virTPMState *state)
{
    const uint8_t *header = virTPMStateReaderGet(reader, offset,
                                                 VIR_TPM_STATE_BLOB_HEADER);
    virTPMStateVersion version = VIR_TPM_STATE_VERSION_UNKNOWN;
    unsigned int needed = 1U << VIR_TPM_STATE_TAG_DATA;
    unsigned int tags = 0;
    bool encrypted;
    bool shortkey;

    if (!header || !virTPMStateIsBlobHeader(header) ||
        virReadBufInt32BE(header + 6) != len)
        return false;

    encrypted = virReadBufInt16BE(header + 4) & VIR_TPM_STATE_BLOB_ENCRYPTED;
    shortkey = encrypted &&
        !(virReadBufInt16BE(header + 4) & VIR_TPM_STATE_BLOB_KEY_256BIT);

    if (!virTPMStateProbeTLVs(reader, offset + VIR_TPM_STATE_BLOB_HEADER,
                              offset + len, &tags, &version))
        return false;

    if (encrypted) {
        needed = (1U << VIR_TPM_STATE_TAG_ENCRYPTED_DATA) |
                 (1U << VIR_TPM_STATE_TAG_HMAC);
        version = VIR_TPM_STATE_VERSION_UNKNOWN;
    }

    if ((tags & needed) != needed)
        return false;

    state->encrypted = encrypted;
    state->shortkey = shortkey;
    state->version = version;
    return true;
}


/* Whether a blob can be that of permanent state: a clear one tells its version. */
static bool
virTPMStateIsPermanent(const virTPMState *state)
{
    return state->encrypted || state->version != VIR_TPM_STATE_VERSION_UNKNOWN;
}


static bool
virTPMStateReadSections(virTPMStateReader *reader,
                        virTPMStateSection *sections)
{
    const uint8_t *header = virTPMStateReaderGet(reader, 0,
                                                 VIR_TPM_STATE_LINEAR_HEADER);
    size_t i;

    if (!header ||
        header[8] != VIR_TPM_STATE_LINEAR_VERSION ||
        virReadBufInt16LE(header + 10) != VIR_TPM_STATE_LINEAR_HEADER)
        return false;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        const uint8_t *entry = header + VIR_TPM_STATE_LINEAR_TABLE +
                               i * VIR_TPM_STATE_LINEAR_ENTRY;

        sections[i].offset = virReadBufInt32LE(entry);
        sections[i].dataLength = virReadBufInt32LE(entry + 4);
        sections[i].sectionLength = virReadBufInt32LE(entry + 8);
    }

    return true;
}


static bool
virTPMStateSectionsOverlap(const virTPMStateSection *a,
                           const virTPMStateSection *b)
{
    return a->offset < b->offset + b->sectionLength &&
           b->offset < a->offset + a->sectionLength;
}


/* Not only the data, the whole section must be inside the file: swtpm maps the
 * file and writes up to the end of the section. Bytes behind the last section
 * are fine, swtpm cuts them off. */
static bool
virTPMStateCheckSections(const virTPMStateSection *sections,
                         uint64_t size)
{
    size_t i;
    size_t j;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        const virTPMStateSection *section = sections + i;

        if (section->offset == 0)
            continue;

        if (section->offset < VIR_TPM_STATE_LINEAR_HEADER ||
            section->dataLength > section->sectionLength ||
            section->offset + section->sectionLength > size)
            return false;

        for (j = 0; j < i; j++) {
            if (sections[j].offset != 0 &&
                virTPMStateSectionsOverlap(section, sections + j))
                return false;
        }
    }

    return true;
}


/* Where the last of the sections from @first on ends. */
static uint64_t
virTPMStateSectionsEnd(const virTPMStateSection *sections,
                       size_t first)
{
    uint64_t end = VIR_TPM_STATE_LINEAR_HEADER;
    size_t i;

    for (i = first; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        if (sections[i].offset != 0)
            end = MAX(end, sections[i].offset + sections[i].sectionLength);
    }

    return end;
}


/* Whether a blob of state begins at @offset, outside of all sections; @lost is set
 * to what its header says, and @found to what it is if it can be permanent state. */
static bool
virTPMStateProbeLostAt(virTPMStateReader *reader,
                       const virTPMStateSection *sections,
                       uint64_t offset,
                       virTPMStateSection *lost,
                       virTPMState *found)
{
    const virTPMStateSection here = { .offset = offset, .sectionLength = 1 };
    virTPMState state = { 0 };
    const uint8_t *header;
    size_t i;

    for (i = 1; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        if (sections[i].offset != 0 && virTPMStateSectionsOverlap(&sections[i], &here))
            return false;
    }

    header = virTPMStateReaderGet(reader, offset, VIR_TPM_STATE_BLOB_HEADER);
    if (!header || !virTPMStateIsBlobHeader(header))
        return false;

    lost->offset = offset;
    lost->dataLength = virReadBufInt32BE(header + 6);

    if (lost->dataLength <= VIR_TPM_STATE_MAX_BLOB &&
        lost->dataLength <= reader->size - offset &&
        virTPMStateProbeBlob(reader, offset, lost->dataLength, &state) &&
        virTPMStateIsPermanent(&state)) {
        *found = state;
        found->mendable = true;
    }

    return true;
}


/* Before swtpm gives the permanent state a larger section it drops the entry from
 * the header: what is interrupted then has the state behind the header or behind
 * another section. Returns whether a blob begins at one of these places; the first
 * one that is whole is told by @lost and @found. */
static bool
virTPMStateFindLost(virTPMStateReader *reader,
                    const virTPMStateSection *sections,
                    virTPMStateSection *lost,
                    virTPMState *found)
{
    uint64_t offset = VIR_TPM_STATE_LINEAR_HEADER;
    bool any = false;
    size_t i;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS && !found->mendable; i++) {
        if (i > 0 && sections[i].offset == 0)
            continue;
        if (i > 0)
            offset = sections[i].offset + sections[i].sectionLength;

        if (virTPMStateProbeLostAt(reader, sections, offset, lost, found))
            any = true;
    }

    return any;
}


static bool
virTPMStateSectionsTooLong(const virTPMStateSection *sections)
{
    size_t i;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        if (sections[i].offset != 0 && sections[i].dataLength > VIR_TPM_STATE_MAX_BLOB)
            return true;
    }

    return false;
}


static virTPMStateKind
virTPMStateProbeLinear(virTPMStateReader *reader,
                       virTPMState *state)
{
    virTPMStateSection sections[VIR_TPM_STATE_LINEAR_SECTIONS] = { 0 };
    size_t i;

    if (!virTPMStateReadSections(reader, sections) ||
        !virTPMStateCheckSections(sections, reader->size))
        return VIR_TPM_STATE_DAMAGED;

    if (virTPMStateSectionsTooLong(sections))
        return VIR_TPM_STATE_UNKNOWN;

    /* the permanent state is always the first */
    if (sections[0].offset == 0 || sections[0].dataLength == 0) {
        virTPMStateSection lost;

        return virTPMStateFindLost(reader, sections, &lost, state) ?
            VIR_TPM_STATE_DAMAGED : VIR_TPM_STATE_BLANK;
    }

    if (!virTPMStateProbeBlob(reader, sections[0].offset,
                              sections[0].dataLength, state))
        return VIR_TPM_STATE_DAMAGED;

    for (i = 0; i < VIR_TPM_STATE_LINEAR_SECTIONS; i++) {
        if (sections[i].offset != 0)
            state->end = MAX(state->end, sections[i].offset + sections[i].dataLength);
    }

    return VIR_TPM_STATE_LINEAR;
}


static virTPMStateKind
virTPMStateProbeKind(virTPMStateReader *reader,
                     virTPMState *state)
{
    const uint8_t *header;

    if (virTPMStateHasMagic(reader, VIR_TPM_STATE_QCOW2_MAGIC,
                            sizeof(VIR_TPM_STATE_QCOW2_MAGIC) - 1))
        return VIR_TPM_STATE_QCOW2;

    if (virTPMStateHasMagic(reader, VIR_TPM_STATE_LUKS_MAGIC,
                            sizeof(VIR_TPM_STATE_LUKS_MAGIC) - 1))
        return VIR_TPM_STATE_LUKS;

    if (reader->size > VIR_TPM_STATE_MAX_SIZE)
        return VIR_TPM_STATE_UNKNOWN;

    if (virTPMStateHasMagic(reader, VIR_TPM_STATE_LINEAR_MAGIC,
                            sizeof(VIR_TPM_STATE_LINEAR_MAGIC) - 1))
        return virTPMStateProbeLinear(reader, state);

    header = virTPMStateReaderGet(reader, 0, VIR_TPM_STATE_BLOB_HEADER);
    if (header && virTPMStateIsBlobHeader(header)) {
        if (reader->size > VIR_TPM_STATE_MAX_BLOB)
            return VIR_TPM_STATE_UNKNOWN;
        if (!virTPMStateProbeBlob(reader, 0, reader->size, state))
            return VIR_TPM_STATE_DAMAGED;
        return VIR_TPM_STATE_BLOB;
    }

    if (virTPMStateIsZero(reader))
        return VIR_TPM_STATE_BLANK;

    return VIR_TPM_STATE_UNKNOWN;
}


int
virTPMStateProbe(int fd,
                 const char *path,
                 virTPMState *state)
{
    virTPMStateReader reader = { .fd = fd, .path = path };
    virTPMState found = { 0 };
    struct stat st;

    if (fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot stat '%1$s'"), path);
        return -1;
    }

    reader.size = st.st_size;
    found.kind = virTPMStateProbeKind(&reader, &found);

    if (reader.failed)
        return -1;

    *state = found;
    return 0;
}


void
virTPMStateProbeBytes(const uint8_t *data,
                      size_t len,
                      virTPMState *state)
{
    virTPMStateReader reader = { .bytes = data, .fd = -1, .size = len };

    memset(state, 0, sizeof(*state));
    state->kind = len == 0 ? VIR_TPM_STATE_BLANK : virTPMStateProbeKind(&reader, state);
}


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


bool
virTPMStateIsSameFile(const struct stat *a,
                      const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
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


/* For a file system that cannot allocate. */
static int
virTPMStateAllocateByWriting(int fd,
                             uint64_t len)
{
    const uint8_t zeros[1024] = { 0 };
    struct statvfs fs;
    struct stat st;
    uint64_t allocated;
    uint64_t offset;
    int rc;

    if (fstat(fd, &st) < 0 || fstatvfs(fd, &fs) < 0)
        return -errno;

    allocated = (uint64_t)st.st_blocks * 512;
    if (allocated < len &&
        (uint64_t)fs.f_bavail * fs.f_frsize < len - allocated)
        return -ENOSPC;

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
    struct statvfs fs;
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

    if (fstatvfs(fd, &fs) < 0)
        return -errno;

    return (uint64_t)fs.f_bavail * fs.f_frsize < VIR_TPM_STATE_VOLATILE_ROOM ? -ENOSPC : 0;
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
                    const char *pool,
                    const char *vol)
{
    g_autofree virTPMStateReader *reader = g_new0(virTPMStateReader, 1);
    virTPMStateSection sections[VIR_TPM_STATE_LINEAR_SECTIONS] = { 0 };
    struct stat st;
    uint64_t end;
    bool changed;
    int rc;

    if (fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot stat TPM volume '%1$s' of pool '%2$s'"),
                             vol, pool);
        return -1;
    }

    reader->fd = fd;
    reader->path = vol;
    reader->size = st.st_size;
    /* what is blank may have no header */
    ignore_value(virTPMStateReadSections(reader, sections));
    if (reader->failed)
        return -1;

    changed = virTPMStatePlanRoom(sections);
    end = virTPMStateSectionsEnd(sections, 0);

    if ((rc = virTPMStateAllocate(fd, end)) < 0) {
        virReportSystemError(-rc,
                             _("cannot allocate %1$llu bytes for TPM volume '%2$s' of pool '%3$s'"),
                             (unsigned long long)end, vol, pool);
        return -1;
    }

    if (changed && (rc = virTPMStateWriteHeader(fd, sections)) < 0) {
        virReportSystemError(-rc, _("cannot write TPM volume '%1$s' of pool '%2$s'"),
                             vol, pool);
        return -1;
    }

    return 0;
}


int
virTPMStateReserve(int fd,
                   const char *pool,
                   const char *vol)
{
    struct stat st;
    int rc;

    rc = fstat(fd, &st) < 0 ? -errno : virTPMStateAllocateBehind(fd, st.st_size);
    if (rc == 0)
        return 0;

    virReportSystemError(-rc,
                         _("cannot reserve %1$d bytes for the volatile state of TPM volume '%2$s' of pool '%3$s'"),
                         VIR_TPM_STATE_VOLATILE_ROOM, vol, pool);
    return -1;
}


/* How long a lease is waited for, and how often is asked, in microseconds. */
# define VIR_TPM_STATE_LEASE_TIME (1000 * 1000)
# define VIR_TPM_STATE_LEASE_WAIT (5 * 1000)

int
virTPMStateOpenNoWait(const char *path,
                      int oflags)
{
    const gint64 until = g_get_monotonic_time() + VIR_TPM_STATE_LEASE_TIME;
    int fd;

    oflags |= O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

    while ((fd = open(path, oflags, 0600)) < 0 && errno == EWOULDBLOCK) {
        if (g_get_monotonic_time() >= until) {
            errno = EBUSY;
            return -1;
        }

        g_usleep(VIR_TPM_STATE_LEASE_WAIT);
    }

    return fd;
}


void
virTPMStateRevalidateDir(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}


bool
virTPMStatePathNames(int fd,
                     const char *path)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 &&
           lstat(path, &named) == 0 &&
           opened.st_nlink > 0 &&
           virTPMStateIsSameFile(&opened, &named);
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
                    const char *pool,
                    const char *vol)
{
    virReportSystemError(ENOSYS,
                         _("cannot allocate space for TPM volume '%1$s' of pool '%2$s'"),
                         vol, pool);
    return -1;
}


int
virTPMStateReserve(int fd,
                   const char *pool,
                   const char *vol)
{
    return virTPMStateMakeRoom(fd, pool, vol);
}


int
virTPMStateOpenNoWait(const char *path G_GNUC_UNUSED,
                      int oflags G_GNUC_UNUSED)
{
    errno = ENOSYS;
    return -1;
}


void
virTPMStateRevalidateDir(const char *path G_GNUC_UNUSED)
{
}


bool
virTPMStatePathNames(int fd G_GNUC_UNUSED,
                     const char *path G_GNUC_UNUSED)
{
    return false;
}

#endif /* WIN32 */


int
virTPMStateCheck(const virTPMState *state,
                 const char *pool,
                 const char *vol)
{
    switch (state->kind) {
    case VIR_TPM_STATE_LINEAR:
        return 0;

    case VIR_TPM_STATE_BLANK:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' is blank: upload or migrate TPM state to it, or delete it and create it again with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_DAMAGED:
        if (state->mendable) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("TPM volume '%1$s' of pool '%2$s' is damaged, as its header has lost the TPM state: repair it with 'virt-tpm-volume repair'"),
                           vol, pool);
            return -1;
        }
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' is damaged, as its TPM state is truncated or inconsistent: restore it from a backup with vol-upload"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_BLOB:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a bare TPM state blob, not swtpm's linear file: import it with vol-upload or vol-create-from"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_QCOW2:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a qcow2 image, not TPM state: move the image elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_LUKS:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' holds a LUKS container, not TPM state: move the container elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_UNKNOWN:
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' does not hold TPM state: move the file elsewhere and create the volume with vol-create"),
                       vol, pool);
        return -1;

    case VIR_TPM_STATE_LAST:
        break;
    }

    virReportEnumRangeError(virTPMStateKind, state->kind);
    return -1;
}


int
virTPMStateCheckSecret(const virTPMState *state,
                       bool secret,
                       const char *path,
                       const char *pool,
                       const char *vol)
{
    if (state->encrypted && !secret) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' is encrypted, but no secret is known for it: define one of usage type 'vtpm' whose usage name is '%3$s'"),
                       vol, pool, path);
        return -1;
    }

    if (!state->encrypted && secret) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("TPM volume '%1$s' of pool '%2$s' has a secret, but its content is not encrypted and may have been replaced: restore the volume from a backup"),
                       vol, pool);
        return -1;
    }

    if (state->encrypted) {
        g_autofree char *name = g_strdup_printf("%s/%s", pool, vol);

        return virTPMStateCheckCipher(state, name);
    }

    return 0;
}


int
virTPMStateCheckCipher(const virTPMState *state,
                       const char *name)
{
    if (!state->shortkey)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM state in '%1$s' is encrypted with AES-128, which is not supported: decrypt it with swtpm first"),
                   name);
    return -1;
}


/* Returns the lines of swtpm's log in one, without the one that says no more
 * than that the other side is gone. */
static char *
virTPMStateJoinLog(const char *log)
{
    g_auto(GStrv) lines = g_strsplit(log, "\n", 0);
    g_autoptr(GString) joined = g_string_new(NULL);
    size_t i;

    for (i = 0; lines[i]; i++) {
        if (!*lines[i] || STREQ(lines[i], "Data client disconnected"))
            continue;

        g_string_append_printf(joined, "%s%s", joined->len ? "; " : "", lines[i]);
    }

    return g_strdup(joined->str);
}


/* libtpms says so of a state that it is too old for:
 *   ... Minimum version 4 higher than implementation version 3 for type 0xab364723 */
static bool
virTPMStateReportNewer(const char *log,
                       const char *pool,
                       const char *vol)
{
    const char *said = strstr(log, "Minimum version ");
    unsigned int needed;
    unsigned int known;

    if (!said || sscanf(said, "Minimum version %u higher than implementation version %u",
                        &needed, &known) != 2)
        return false;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("TPM state of volume '%1$s' of pool '%2$s' has format %3$u of a newer libtpms, but this host supports formats up to %4$u: update libtpms"),
                   vol, pool, needed, known);
    return true;
}


void
virTPMStateReportSwtpm(const char *log,
                       const char *pool,
                       const char *vol)
{
    g_autofree char *reason = NULL;

    if (strstr(log, "Verification of HMAC failed")) {
        virReportError(VIR_ERR_AUTH_FAILED,
                       _("wrong passphrase for TPM volume '%1$s' of pool '%2$s', or its content was tampered with"),
                       vol, pool);
        return;
    }

    if (virTPMStateReportNewer(log, pool, vol))
        return;

    if (strstr(log, "Invalid magic")) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("TPM volume '%1$s' of pool '%2$s' does not hold permanent TPM state"),
                       vol, pool);
        return;
    }

    reason = virTPMStateJoinLog(log);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot start the TPM on volume '%1$s' of pool '%2$s': %3$s"),
                   vol, pool, *reason ? reason : virGetLastErrorMessage());
}


/* How long the holder of a lock is looked for, in microseconds. */
#define VIR_TPM_STATE_HOLDER_TIME (1000 * 1000)

/* What f_type of statfs() is for every file system in user space: the kernel
 * does not know the locks that its server has granted. */
#define VIR_TPM_STATE_FUSE_SUPER_MAGIC 0x65735546

/* Whether a line of /proc/PID/fdinfo/FD tells of a lock on the inode @ino, as in
 * "lock:   1: OFDLCK  ADVISORY  WRITE -1 00:1c:4711 0 EOF". */
static bool
virTPMStateIsLockLine(const char *line,
                      unsigned long long ino)
{
    g_auto(GStrv) words = NULL;
    const char *number;
    unsigned long long found;
    size_t i;

    if (!STRPREFIX(line, "lock:") ||
        !(strstr(line, " OFDLCK ") || strstr(line, " POSIX ")))
        return false;

    words = g_strsplit_set(line, " \t", 0);

    for (i = 0; words[i]; i++) {
        /* MAJOR:MINOR:INODE, where the device is not that of stat() on every
         * file system */
        if ((number = strrchr(words[i], ':')) && strchr(words[i], ':') != number &&
            virStrToLong_ullp(number + 1, NULL, 10, &found) == 0)
            return found == ino;
    }

    return false;
}


/* An open file description shows its locks in /proc/PID/fdinfo/FD, also those
 * that were inherited, for which the kernel itself knows no process. */
static bool
virTPMStateFdHasLock(pid_t pid,
                     const char *fd,
                     unsigned long long ino)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/fdinfo/%s",
                                            (long long)pid, fd);
    g_autofree char *info = NULL;
    g_auto(GStrv) lines = NULL;
    size_t i;

    if (virFileReadAllQuiet(path, 64 * 1024, &info) < 0)
        return false;

    lines = g_strsplit(info, "\n", 0);

    for (i = 0; lines[i]; i++) {
        if (virTPMStateIsLockLine(lines[i], ino))
            return true;
    }

    return false;
}


/* A descriptor is looked at itself only if it has a lock on an inode of that
 * number: stat() of any other one may never return, where the server of its file
 * system does not answer. */
static bool
virTPMStateProcessHasLock(pid_t pid,
                          const struct stat *st,
                          gint64 until)
{
    g_autofree char *fds = g_strdup_printf("/proc/%lld/fdinfo", (long long)pid);
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    if (virDirOpenQuiet(&dir, fds) < 0)
        return false;

    while (virDirRead(dir, &entry, NULL) > 0 && g_get_monotonic_time() < until) {
        g_autofree char *path = NULL;
        struct stat fdst;

        if (!virTPMStateFdHasLock(pid, entry->d_name, st->st_ino))
            continue;

        path = g_strdup_printf("/proc/%lld/fd/%s", (long long)pid, entry->d_name);

        if (stat(path, &fdst) == 0 && virTPMStateIsSameFile(&fdst, st))
            return true;
    }

    return false;
}


static char *
virTPMStateDescribeProcess(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/comm", (long long)pid);
    g_autofree char *name = NULL;

    if (virFileReadAllQuiet(path, 64, &name) < 0)
        return g_strdup_printf(_("process %1$lld"), (long long)pid);

    virStringTrimOptionalNewline(name);
    virStringStripControlChars(name);

    return g_strdup_printf(_("process %1$lld (%2$s)"), (long long)pid, name);
}


/* Whether the locks on a file are shown in /proc by the host that holds them. */
static bool
virTPMStateShowsLocks(int fd)
{
#ifdef __linux__
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type != VIR_TPM_STATE_FUSE_SUPER_MAGIC;
#else /* !__linux__ */
    return fd < 0;
#endif /* !__linux__ */
}


static virTPMStateLockOwner
virTPMStateLockFindOwnerOnce(const struct stat *st,
                             gint64 until,
                             char **holder)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    if (virDirOpenQuiet(&dir, "/proc") < 0)
        return VIR_TPM_STATE_LOCK_OWNER_UNKNOWN;

    while (virDirRead(dir, &entry, NULL) > 0) {
        long long number;

        if (virStrToLong_ll(entry->d_name, NULL, 10, &number) == 0 &&
            virTPMStateProcessHasLock(number, st, until)) {
            *holder = virTPMStateDescribeProcess(number);
            return VIR_TPM_STATE_LOCK_OWNER_PROCESS;
        }

        if (g_get_monotonic_time() >= until)
            return VIR_TPM_STATE_LOCK_OWNER_UNKNOWN;
    }

    return VIR_TPM_STATE_LOCK_OWNER_ELSEWHERE;
}


virTPMStateLockOwner
virTPMStateLockFindOwner(int fd,
                         char **holder)
{
    const gint64 until = g_get_monotonic_time() + VIR_TPM_STATE_HOLDER_TIME;
    virTPMStateLockOwner owner = VIR_TPM_STATE_LOCK_OWNER_ELSEWHERE;
    struct stat st;
    size_t i;

    *holder = NULL;

    if (!virTPMStateShowsLocks(fd) || fstat(fd, &st) < 0)
        return VIR_TPM_STATE_LOCK_OWNER_UNKNOWN;

    /* a process that forks meanwhile hands the lock to one that was not there yet */
    for (i = 0; i < 2 && owner == VIR_TPM_STATE_LOCK_OWNER_ELSEWHERE; i++)
        owner = virTPMStateLockFindOwnerOnce(&st, until, holder);

    return owner;
}


char *
virTPMStateLockHolder(int fd)
{
    char *holder;

    ignore_value(virTPMStateLockFindOwner(fd, &holder));
    return holder;
}


#ifdef F_OFD_SETLK

/* A lock that is refused is asked for again a few times: a process that this
 * daemon is just starting has its descriptors, and so its locks, until it
 * executes its program. */
# define VIR_TPM_STATE_OPEN_TRIES 5
# define VIR_TPM_STATE_OPEN_WAIT (10 * 1000)

/* Takes, gives up or, with @cmd F_OFD_GETLK, asks for a lock from @start on. */
static int
virTPMStateSetLock(int fd,
                   int cmd,
                   short type,
                   off_t start)
{
    struct flock fl = {
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = start,
    };

    if (fcntl(fd, cmd, &fl) < 0)
        return errno == EACCES ? -EAGAIN : -errno;

    return cmd == F_OFD_GETLK && fl.l_type != F_UNLCK ? -EAGAIN : 0;
}


int
virTPMStateLock(int fd)
{
    return virTPMStateSetLock(fd, F_OFD_SETLK, F_WRLCK, 0);
}


int
virTPMStateLockShared(int fd)
{
    return virTPMStateSetLock(fd, F_OFD_SETLK, F_RDLCK, 0);
}


int
virTPMStateUnlock(int fd)
{
    return virTPMStateSetLock(fd, F_OFD_SETLK, F_UNLCK, 0);
}


int
virTPMStateLockFrom(int fd,
                    off_t start,
                    bool ask)
{
    return virTPMStateSetLock(fd, ask ? F_OFD_GETLK : F_OFD_SETLK, F_WRLCK, start);
}


static void
virTPMStateReportNotRegular(const char *path,
                            const char *pool,
                            const char *vol)
{
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("'%1$s' of TPM volume '%2$s' of pool '%3$s' is not a regular file"),
                   path, vol, pool);
}


static void
virTPMStateReportOpen(int err,
                      const char *path,
                      const char *pool,
                      const char *vol)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("file '%1$s' of TPM volume '%2$s' of pool '%3$s' not found: check that the file system is mounted, or run pool-refresh if the file was removed"),
                       path, vol, pool);
        return;

    case EACCES:
    case EPERM:
        virReportSystemError(err,
                             _("no permission to read and write '%1$s' of TPM volume '%2$s' of pool '%3$s': check its owner, mode and security label, and the access of root to a network file system"),
                             path, vol, pool);
        return;

    case EROFS:
        virReportSystemError(err,
                             _("cannot write to '%1$s' of TPM volume '%2$s' of pool '%3$s': a TPM requires a writable file system"),
                             path, vol, pool);
        return;

    case ELOOP:
    case EISDIR:
    case ENXIO:
    case ENODEV:
        virTPMStateReportNotRegular(path, pool, vol);
        return;

    case EBUSY:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' cannot be opened, as a process of this host or another one keeps a lease on '%3$s'"),
                       vol, pool, path);
        return;

    default:
        virReportSystemError(err,
                             _("cannot open '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                             path, vol, pool);
    }
}


static void
virTPMStateReportBusy(int fd,
                      const char *pool,
                      const char *vol)
{
    g_autofree char *holder = NULL;

    switch (virTPMStateLockFindOwner(fd, &holder)) {
    case VIR_TPM_STATE_LOCK_OWNER_PROCESS:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use by %3$s: stop the guest or wait for the operation that uses it"),
                       vol, pool, holder);
        return;

    case VIR_TPM_STATE_LOCK_OWNER_ELSEWHERE:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use, but not by a process on this host (another host on shared storage?)"),
                       vol, pool);
        return;

    case VIR_TPM_STATE_LOCK_OWNER_UNKNOWN:
        virReportError(VIR_ERR_RESOURCE_BUSY,
                       _("TPM volume '%1$s' of pool '%2$s' is in use by an unknown process on this host or another one"),
                       vol, pool);
        return;
    }
}


/* Returns a descriptor of a regular file, or -errno; -ENODEV if it is none. */
static int
virTPMStateOpenFile(const char *path,
                    bool create)
{
    int flags = O_RDWR | O_NOFOLLOW;
    VIR_AUTOCLOSE fd = -1;
    struct stat st;
    int ret;

    if (create)
        flags |= O_CREAT;

    if ((fd = virTPMStateOpenNoWait(path, flags)) < 0 || fstat(fd, &st) < 0)
        return -errno;

    if (!S_ISREG(st.st_mode))
        return -ENODEV;

    ret = fd;
    fd = -1;
    return ret;
}


int
virTPMStateOpenUnlocked(const char *path,
                        const char *pool,
                        const char *vol)
{
    int fd = virTPMStateOpenFile(path, false);

    if (fd < 0) {
        virTPMStateReportOpen(-fd, path, pool, vol);
        return -1;
    }

    return fd;
}


int
virTPMStateLockAt(int fd,
                  const char *path,
                  bool shared)
{
    int rc = shared ? virTPMStateLockShared(fd) : virTPMStateLock(fd);

    if (rc < 0)
        return rc;

    virTPMStateRevalidateDir(path);
    return virTPMStatePathNames(fd, path) ? 0 : -ESTALE;
}


int
virTPMStateLockPath(const char *path,
                    unsigned int flags,
                    int *fd)
{
    size_t tries = flags & VIR_TPM_STATE_LOCK_NO_WAIT ? 1 : VIR_TPM_STATE_OPEN_TRIES;
    size_t i;

    for (i = 0; i < tries; i++) {
        int rc;

        if (i > 0)
            g_usleep(VIR_TPM_STATE_OPEN_WAIT);

        VIR_FORCE_CLOSE(*fd);
        if ((*fd = virTPMStateOpenFile(path, flags & VIR_TPM_STATE_LOCK_CREATE)) < 0)
            return *fd;

        rc = virTPMStateLockAt(*fd, path, false);

        /* stale: it was replaced or deleted before it was locked */
        if (rc != -EAGAIN && rc != -ESTALE)
            return rc;
    }

    return -EAGAIN;
}


int
virTPMStateOpen(const char *path,
                const char *pool,
                const char *vol)
{
    VIR_AUTOCLOSE fd = -1;
    int rc = virTPMStateLockPath(path, 0, &fd);
    int ret;

    if (rc == -EAGAIN) {
        virTPMStateReportBusy(fd, pool, vol);
        return -1;
    }

    if (rc < 0 && fd < 0) {
        virTPMStateReportOpen(-rc, path, pool, vol);
        return -1;
    }

    if (rc < 0) {
        virReportSystemError(-rc,
                             _("cannot lock '%1$s' of TPM volume '%2$s' of pool '%3$s'"),
                             path, vol, pool);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}

#else /* ! F_OFD_SETLK */

int
virTPMStateLock(int fd G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateLockShared(int fd G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateUnlock(int fd G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateLockFrom(int fd G_GNUC_UNUSED,
                    off_t start G_GNUC_UNUSED,
                    bool ask G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateLockAt(int fd G_GNUC_UNUSED,
                  const char *path G_GNUC_UNUSED,
                  bool shared G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateLockPath(const char *path G_GNUC_UNUSED,
                    unsigned int fakeflags G_GNUC_UNUSED,
                    int *fd G_GNUC_UNUSED)
{
    return -ENOSYS;
}


int
virTPMStateOpen(const char *path G_GNUC_UNUSED,
                const char *pool,
                const char *vol)
{
    virReportError(VIR_ERR_NO_SUPPORT,
                   _("TPM volume '%1$s' of pool '%2$s' cannot be locked, as open file description locks are not supported on this platform"),
                   vol, pool);
    return -1;
}


int
virTPMStateOpenUnlocked(const char *path,
                        const char *pool,
                        const char *vol)
{
    return virTPMStateOpen(path, pool, vol);
}

#endif /* ! F_OFD_SETLK */
