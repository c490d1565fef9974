/*
 * virtpmstate.h: recognise and lock the state of an emulated TPM
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <sys/stat.h>

#include "internal.h"
#include "virenum.h"

/* The largest file that is taken for TPM state or for blank, in bytes: others
 * pad state with zeros. */
#define VIR_TPM_STATE_MAX_SIZE (16ULL * 1024 * 1024)

/* The longest blob of state in bytes. That of libtpms' TPM 2.0 has less than 256
 * KiB, and swtpm from 0.10 on takes no more than 512 KiB. */
#define VIR_TPM_STATE_MAX_BLOB (1024ULL * 1024)

/* The section that the permanent state of a volume has, in bytes. No TPM outgrows
 * it, so that swtpm neither moves the state nor resizes the file. */
#define VIR_TPM_STATE_ROOM (256ULL * 1024)

/* What swtpm may need for volatile state, which it has in the file while QEMU reads
 * it, in bytes. */
#define VIR_TPM_STATE_VOLATILE_ROOM (64 * 1024)

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
 * @fd: descriptor of the volume's file, open for reading and writing, whose lock
 *      the caller holds
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Gives the permanent state of a volume a section of VIR_TPM_STATE_ROOM bytes
 * and has the file's blocks allocated, so that swtpm can write all of it whatever
 * becomes of the file system's free space. Drops the other sections: swtpm has
 * volatile state in the file while QEMU reads it, and one that was left there by
 * an interruption is that of an earlier boot, or not whole. A blank volume gets an
 * empty section. Only VIR_TPM_STATE_LINEAR and VIR_TPM_STATE_BLANK may be passed.
 * The state is whole at every moment: its place stays, and the header is replaced
 * in one write.
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_SYSTEM_ERROR with
 * ENOSPC if there is no room.
 */
int virTPMStateMakeRoom(int fd,
                        const char *pool,
                        const char *vol)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateReserve:
 * @fd: descriptor of the volume's file, open for writing; its lock is not needed
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Has VIR_TPM_STATE_VOLATILE_ROOM bytes allocated behind the end of the file, which
 * stays where it is. To be called before QEMU reads the TPM: swtpm writes volatile
 * state there first, is killed by SIGBUS if there is no room, and gives the room
 * back afterwards. Where the file system cannot allocate, there must be free space,
 * which is not kept from others.
 *
 * Returns 0 on success, -1 with an error reported: VIR_ERR_SYSTEM_ERROR with
 * ENOSPC if there is no room.
 */
int virTPMStateReserve(int fd,
                       const char *pool,
                       const char *vol)
    ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateCheck:
 * @state: what virTPMStateProbe() found
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Checks that swtpm may be run on the volume: only VIR_TPM_STATE_LINEAR
 * passes. Every other kind has an error of its own that says what the volume
 * holds and what to do.
 *
 * Returns 0 if it may, -1 with an error reported otherwise.
 */
int virTPMStateCheck(const virTPMState *state,
                     const char *pool,
                     const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateCheckSecret:
 * @state: what virTPMStateProbe() found
 * @secret: whether a secret is known for the volume
 * @path: the volume's file, for error messages
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Checks that encrypted state has a secret and clear state has none.
 *
 * Returns 0 if so, -1 with an error reported otherwise.
 */
int virTPMStateCheckSecret(const virTPMState *state,
                           bool secret,
                           const char *path,
                           const char *pool,
                           const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) ATTRIBUTE_NONNULL(4)
    ATTRIBUTE_NONNULL(5) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateCheckCipher:
 * @state: what virTPMStateProbe() found
 * @name: what holds the state, for error messages
 *
 * Checks that state is not encrypted with AES-128, which swtpm cannot open where it
 * is told to use AES-256, as it is for every volume.
 *
 * Returns 0 if so, -1 with an error reported otherwise.
 */
int virTPMStateCheckCipher(const virTPMState *state,
                           const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateReportSwtpm:
 * @log: what swtpm has logged since it was started on the volume
 * @pool: name of the storage pool
 * @vol: name of the volume
 *
 * Reports why swtpm could not use a volume: VIR_ERR_AUTH_FAILED if it cannot be
 * decrypted; VIR_ERR_CONFIG_UNSUPPORTED if a newer libtpms has made it;
 * VIR_ERR_OPERATION_INVALID if what was decrypted is no permanent state; else
 * VIR_ERR_OPERATION_FAILED with swtpm's words, or those of the last error if it
 * has said nothing.
 */
void virTPMStateReportSwtpm(const char *log,
                            const char *pool,
                            const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * virTPMStateOpen:
 * @path: the volume's file
 * @pool: name of the storage pool, for error messages
 * @vol: name of the volume, for error messages
 *
 * Opens a volume's file for reading and writing and takes its lock, an open
 * file description write lock over the whole file. It is held as long as any
 * process keeps the description open: hand the descriptor to a child and the
 * lock lives as long as the child does. Symbolic links are not followed, and
 * only a regular file is taken. Verifies, once the lock is held, that @path
 * still names the locked file. A lock that is refused is asked for again for
 * some 40 ms.
 *
 * The caller must hold no POSIX lock on the file: they go when any descriptor
 * of it is closed.
 *
 * Returns the descriptor (close-on-exec), or -1 with an error reported:
 * VIR_ERR_RESOURCE_BUSY, naming the holder, if the volume is in use;
 * VIR_ERR_NO_STORAGE_VOL if there is no such file.
 */
int virTPMStateOpen(const char *path,
                    const char *pool,
                    const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateOpenUnlocked:
 * @path, @pool, @vol: as for virTPMStateOpen()
 *
 * As virTPMStateOpen(), but takes no lock: for a volume that a guest uses, on this
 * host or on another one that is about to hand it over.
 *
 * Returns the descriptor (close-on-exec), or -1 with an error reported.
 */
int virTPMStateOpenUnlocked(const char *path,
                            const char *pool,
                            const char *vol)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateIsSameFile:
 * @a, @b: what stat() tells
 *
 * Returns whether both are about one file or directory, whatever its names are.
 */
bool virTPMStateIsSameFile(const struct stat *a,
                           const struct stat *b)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateOpenNoWait:
 * @path: a file
 * @oflags: as for open(); O_NONBLOCK, O_NOCTTY and O_CLOEXEC are added
 *
 * Opens a file without waiting for the other end of a FIFO. Where it is made, it
 * gets mode 0600. While another process has a lease on the file, or a client of
 * this host's NFS server a delegation, the kernel refuses and asks for it back:
 * then it is tried again for up to a second.
 *
 * Returns the descriptor, or -1 with errno set; EBUSY if the lease was not given
 * back in that time, and never EAGAIN, by which a lock is refused.
 */
int virTPMStateOpenNoWait(const char *path,
                          int oflags)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateRevalidateDir:
 * @path: path of a file
 *
 * Opens the file's directory once: a network file system then asks its server
 * about the names in it, where it would believe for some seconds what it knew
 * before (close-to-open consistency, see nfs(5)).
 */
void virTPMStateRevalidateDir(const char *path)
    ATTRIBUTE_NONNULL(1);

/**
 * virTPMStatePathNames:
 * @fd: descriptor
 * @path: a name
 *
 * Returns whether @path names the file behind @fd. Without the lock of that file this
 * may change at any moment: see virTPMStateLockAt().
 */
bool virTPMStatePathNames(int fd,
                          const char *path)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateLock:
 * @fd: descriptor, open for writing
 *
 * Takes the lock of virTPMStateOpen() on an open descriptor, without waiting.
 * What the file's name stands for is not known then: see virTPMStateLockAt().
 *
 * Returns 0 on success, -errno otherwise; -EAGAIN if someone else holds it,
 * -ENOSYS if the platform has no such locks.
 */
int virTPMStateLock(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateLockShared:
 * @fd: descriptor, open for reading
 *
 * As virTPMStateLock(), for whoever only reads: several may hold it.
 *
 * Returns as virTPMStateLock().
 */
int virTPMStateLockShared(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateUnlock:
 * @fd: descriptor that has the lock of virTPMStateLock() or virTPMStateLockShared()
 *
 * Gives up the lock.
 *
 * Returns 0 on success, -errno otherwise.
 */
int virTPMStateUnlock(int fd)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateLockFrom:
 * @fd: descriptor, open for writing
 * @start: offset in bytes
 * @ask: whether only to ask if the lock can be taken
 *
 * As virTPMStateLock(), for state that is no volume: the lock begins at @start, as
 * other programs have locks of their own on the bytes before it.
 *
 * Returns 0 on success, -errno otherwise; -EAGAIN if someone else holds it,
 * -ENOSYS if the platform has no such locks.
 */
int virTPMStateLockFrom(int fd,
                        off_t start,
                        bool ask)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateLockAt:
 * @fd: descriptor, open for reading if @shared, else for writing
 * @path: the name that it was opened or made by
 * @shared: whether only to read: several may hold the lock then
 *
 * Takes the lock of virTPMStateOpen() on an open descriptor, without waiting,
 * and verifies that @path names the locked file: it may have been renamed,
 * replaced or removed before it was locked. Nobody else does that while the lock
 * is held.
 *
 * Returns 0 on success, -errno otherwise: -EAGAIN if someone else holds the
 * lock, -ESTALE if it is held, but @path does not name the file any more,
 * -ENOSYS if the platform has no such locks.
 */
int virTPMStateLockAt(int fd,
                      const char *path,
                      bool shared)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

typedef enum {
    VIR_TPM_STATE_LOCK_CREATE = 1 << 0,  /* make the file if it is missing, with mode 0600 */
    VIR_TPM_STATE_LOCK_NO_WAIT = 1 << 1, /* ask for the lock once */
} virTPMStateLockFlags;

/**
 * virTPMStateLockPath:
 * @path: a regular file
 * @flags: bitwise-OR of virTPMStateLockFlags
 * @fd: -1; set to a descriptor of the file (close-on-exec)
 *
 * Opens a file for reading and writing, takes its lock and verifies that @path
 * names the locked file, as virTPMStateOpen() does. If the lock is refused @fd is
 * open as well, to ask for its holder.
 *
 * Returns 0 on success, -errno otherwise: with @fd negative if the file cannot be
 * opened (-ENODEV if it is no regular one, -EBUSY if it is leased), else -EAGAIN if
 * someone else holds the lock or the file was replaced each time, or as
 * virTPMStateLockAt().
 */
int virTPMStateLockPath(const char *path,
                        unsigned int flags,
                        int *fd)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(3) G_GNUC_WARN_UNUSED_RESULT;

typedef enum {
    VIR_TPM_STATE_LOCK_OWNER_PROCESS,   /* a process of this host */
    VIR_TPM_STATE_LOCK_OWNER_ELSEWHERE, /* no process of this host */
    VIR_TPM_STATE_LOCK_OWNER_UNKNOWN,   /* the file system hides its locks, as every FUSE
                                           one does, or the time was up */
} virTPMStateLockOwner;

/**
 * virTPMStateLockFindOwner:
 * @fd: descriptor of a file whose lock was refused
 * @holder: set to text such as "process 4711 (swtpm)" if it is a process of
 *          this host, else to NULL
 *
 * Looks through /proc for a process that holds a lock on the file behind @fd, for
 * at most a second or so. Touches no file but those that have a lock on an inode
 * of the same number, so that no other file system is waited for. Meant for an
 * error message, and not for an event loop.
 *
 * Returns what is known of the holder.
 */
virTPMStateLockOwner virTPMStateLockFindOwner(int fd,
                                              char **holder)
    ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virTPMStateLockHolder:
 * @fd: descriptor of a file whose lock was refused
 *
 * As virTPMStateLockFindOwner().
 *
 * Returns text such as "process 4711 (swtpm)", or NULL if no process of this
 * host is known to hold the lock.
 */
char *virTPMStateLockHolder(int fd)
    G_GNUC_WARN_UNUSED_RESULT;
