/*
 * qemu_tpm_process.c: find and end swtpm processes
 *
 * QEMU's user may write where the pid file and the socket of swtpm are, so that their
 * content is not used. swtpm is known by the lock on its pid file, and by the socket that
 * its arguments name; before it is executed, by the program, which is still this daemon.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_tpm_process.h"
#include "virfile.h"
#include "virlog.h"
#include "virprocess.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_QEMU

VIR_LOG_INIT("qemu.qemu_tpm_process");

/* What is read of a process's arguments, in bytes; swtpm's socket is told first. */
#define QEMU_TPM_PROCESS_ARGS_MAX (16 * 1024)

/* What is read of the kernel's list of Unix sockets, in bytes. */
#define QEMU_TPM_PROCESS_SOCKETS_MAX (64 * 1024 * 1024)

/* How the names of a swtpm's files end. */
#define QEMU_TPM_PROCESS_PID "-swtpm.pid"


/* Returns the process that has the lock of a pid file, or -1. */
static pid_t
qemuTPMProcessLockHolder(const char *pidfile)
{
    VIR_AUTOCLOSE fd = open(pidfile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return -1;

    return lock.l_pid;
}


#ifdef __linux__

/* Whether a process is one of this daemon's own that has not executed its program yet. */
static bool
qemuTPMProcessIsOwnChild(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/exe", (long long) pid);
    struct stat self;
    struct stat sb;

    return pid != getpid() && stat(path, &sb) == 0 && stat("/proc/self/exe", &self) == 0 &&
        sb.st_dev == self.st_dev && sb.st_ino == self.st_ino;
}


/* Whether a process was told to listen on @sock, by an argument that begins with
 *   type=unixio,path=SOCK, */
static bool
qemuTPMProcessHasSocket(pid_t pid,
                        const char *sock)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/cmdline", (long long) pid);
    g_autofree char *wanted = g_strdup_printf("type=unixio,path=%s,", sock);
    g_autofree char *args = NULL;
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *arg;
    ssize_t len;

    args = g_new0(char, QEMU_TPM_PROCESS_ARGS_MAX + 1);
    if (fd < 0 || (len = saferead(fd, args, QEMU_TPM_PROCESS_ARGS_MAX)) < 0)
        return false;

    for (arg = args; arg < args + len; arg += strlen(arg) + 1) {
        if (STRPREFIX(arg, wanted))
            return true;
    }

    return false;
}

#else /* !__linux__ */

/* Without /proc the lock on the pid file is all that is known. */
static bool
qemuTPMProcessIsOwnChild(pid_t pid G_GNUC_UNUSED)
{
    return false;
}


static bool
qemuTPMProcessHasSocket(pid_t pid G_GNUC_UNUSED,
                        const char *sock G_GNUC_UNUSED)
{
    return true;
}

#endif /* !__linux__ */


int
qemuTPMProcessFind(const char *pidfile,
                   const char *sock,
                   pid_t *pid)
{
    pid_t holder = qemuTPMProcessLockHolder(pidfile);

    if (holder <= 1 ||
        !(qemuTPMProcessHasSocket(holder, sock) || qemuTPMProcessIsOwnChild(holder)))
        return -1;

    *pid = holder;
    return 0;
}


/* Returns the sockets that a process has open, as a set of "socket:[INODE]", or
 * NULL. */
static GHashTable *
qemuTPMProcessGetSockets(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/fd", (long long) pid);
    g_autoptr(GHashTable) sockets = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                          g_free, NULL);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, path) < 0)
        return NULL;

    while (virDirRead(dir, &ent, NULL) > 0) {
        g_autofree char *fd = g_build_filename(path, ent->d_name, NULL);
        char *what = g_file_read_link(fd, NULL);

        if (what)
            g_hash_table_add(sockets, what);
    }

    return g_steal_pointer(&sockets);
}


/* The kernel has a line for each socket, and for each connection to it one with
 * another state than 01. Other namespaces may have sockets of the same name.
 *   Num RefCount Protocol Flags Type St Inode Path */
static int
qemuTPMProcessIsConnected(pid_t pid,
                          const char *sock)
{
    g_autoptr(GHashTable) sockets = qemuTPMProcessGetSockets(pid);
    g_autofree char *wanted = g_strdup_printf(" %s\n", sock);
    g_autofree char *lines = NULL;
    const char *hit;

    if (!sockets ||
        virFileReadAllQuiet("/proc/net/unix", QEMU_TPM_PROCESS_SOCKETS_MAX, &lines) < 0)
        return -1;

    for (hit = lines; (hit = strstr(hit, wanted)); hit++) {
        const char *start = g_strrstr_len(lines, hit - lines, "\n");
        g_autofree char *line = start ? g_strndup(start, hit - start) : NULL;
        g_autofree char *what = NULL;
        unsigned long long inode;
        char state[3] = { 0 };

        if (!line ||
            sscanf(line, "%*s %*s %*s %*s %*s %2s %llu", state, &inode) != 2 ||
            STREQ(state, "01"))
            continue;

        what = g_strdup_printf("socket:[%llu]", inode);
        if (g_hash_table_contains(sockets, what))
            return 1;
    }

    return 0;
}


int
qemuTPMProcessIsUsed(const char *pidfile,
                     const char *sock)
{
    pid_t pid;

    if (qemuTPMProcessFind(pidfile, sock, &pid) < 0)
        return 0;

    return qemuTPMProcessIsConnected(pid, sock);
}


void
qemuTPMProcessEnd(const char *pidfile,
                  const char *sock)
{
    pid_t pid;

    if (qemuTPMProcessFind(pidfile, sock, &pid) == 0 &&
        virProcessKillPainfully(pid, true) < 0)
        VIR_WARN("cannot end swtpm of '%s', process %lld", sock, (long long) pid);

    unlink(pidfile);
    unlink(sock);
}


static int
qemuTPMProcessAddId(virDomainObj *vm,
                    void *opaque)
{
    VIR_WITH_OBJECT_LOCK_GUARD(vm) {
        if (virDomainObjIsActive(vm))
            g_hash_table_add(opaque, GINT_TO_POINTER(vm->def->id));
    }

    return 0;
}


/* The file of a swtpm's process id is named ID-NAME-swtpm.pid, its socket
 * ID-NAME-swtpm.sock. */
static void
qemuTPMProcessEndLeftover(const char *dir,
                          const char *name,
                          GHashTable *ids)
{
    g_autofree char *pidfile = g_strdup_printf("%s/%s", dir, name);
    g_autofree char *sock = NULL;
    char *end;
    int used;
    int id;

    if (!virStringHasSuffix(name, QEMU_TPM_PROCESS_PID) ||
        virStrToLong_i(name, &end, 10, &id) < 0 || *end != '-' ||
        g_hash_table_contains(ids, GINT_TO_POINTER(id)))
        return;

    sock = g_strdup_printf("%.*ssock", (int) (strlen(pidfile) - strlen("pid")), pidfile);

    used = qemuTPMProcessIsUsed(pidfile, sock);

    if (used != 0) {
        VIR_WARN("swtpm of '%s' %s used by a QEMU whose domain is not known",
                 sock, used < 0 ? "may be" : "is");
        return;
    }

    VIR_INFO("ending swtpm of '%s', which no QEMU uses", sock);
    qemuTPMProcessEnd(pidfile, sock);
}


void
qemuTPMProcessEndLeftovers(virQEMUDriver *driver)
{
    g_autoptr(virQEMUDriverConfig) cfg = virQEMUDriverGetConfig(driver);
    g_autoptr(GHashTable) ids = g_hash_table_new(NULL, NULL);
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, cfg->swtpmStateDir) < 0)
        return;

    virDomainObjListForEach(driver->domains, false, qemuTPMProcessAddId, ids);

    while (virDirRead(dir, &ent, NULL) > 0)
        qemuTPMProcessEndLeftover(cfg->swtpmStateDir, ent->d_name, ids);
}
