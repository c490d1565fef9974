/*
 * virtpmstate.c: recognise the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * swtpm and swtpm_setup format whatever they do not know. So what a file holds is
 * found out here, from its bytes alone and without running anything, before either
 * of them is run on it. The bytes may be anybody's: every length and offset is checked
 * against the file's size before it is used.
 */

#include <config.h>

#include <sys/stat.h>
#include <unistd.h>

#include "virendian.h"
#include "virerror.h"
#include "virtpmstate.h"
#define LIBVIRT_VIRTPMSTATEPRIV_H_ALLOW
#include "virtpmstatepriv.h"

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

/* Blob: u8 version 2, u8 oldest version that can read it 1, u16 size of the
 * header 10, u16 flags, u32 length of the whole blob; then TLVs of u16 tag,
 * u32 length and as many bytes. */
#define VIR_TPM_STATE_BLOB_MAGIC "\x02\x01\x00\x0a"
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
            reader->err = errno;
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
    if (reader->err != 0 || len > reader->size || offset > reader->size - len)
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


bool
virTPMStateIsPermanent(const virTPMState *state)
{
    return state->encrypted || state->version != VIR_TPM_STATE_VERSION_UNKNOWN;
}


bool
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


uint64_t
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


bool
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
    virTPMStateReader reader = { .fd = fd };
    virTPMState found = { 0 };
    struct stat st;

    if (fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot stat '%1$s'"), path);
        return -1;
    }

    reader.size = st.st_size;
    found.kind = virTPMStateProbeKind(&reader, &found);

    if (reader.err != 0) {
        virReportSystemError(reader.err, _("cannot read TPM state from '%1$s'"), path);
        return -1;
    }

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


bool
virTPMStateHasState(const virTPMState *state)
{
    return state->kind == VIR_TPM_STATE_LINEAR ||
        state->kind == VIR_TPM_STATE_DAMAGED ||
        state->kind == VIR_TPM_STATE_BLOB;
}
