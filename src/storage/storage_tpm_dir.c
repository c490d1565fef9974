/*
 * storage_tpm_dir.c: the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever may write to the directory can put one TPM in the place of another, so that
 * its mode is checked when the pool starts. A file system that is not mounted shows an
 * empty directory: it is remembered which one held volumes, so that nobody is told to
 * create a volume that is only out of sight.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_dir.h"
#include "virerror.h"
#include "virfile.h"
#include "virfileopen.h"
#include "virlog.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_dir");

/* Of each pool by its path the directory that had volumes when it was last
 * refreshed, or got one since then. A pool whose file system is not mounted shows
 * another one. */
static GHashTable *virStorageTPMDirs;
static virMutex virStorageTPMDirsLock = VIR_MUTEX_INITIALIZER;


virStoragePoolDef *
virStorageTPMDirCopyLocation(const virStoragePoolDef *pool)
{
    virStoragePoolDef *copy = g_new0(virStoragePoolDef, 1);

    copy->type = VIR_STORAGE_POOL_TPM;
    copy->name = g_strdup(pool->name);
    copy->target.path = g_strdup(pool->target.path);
    return copy;
}


int
virStorageTPMDirCheckPath(const virStoragePoolDef *def)
{
    if (!strpbrk(def->target.path, ",\\") &&
        !virStorageVolTPMNameHasControlChars(def->target.path))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("path '%1$s' of tpm pool '%2$s' cannot contain a comma, backslash or control character"),
                   def->target.path, def->name);
    return -1;
}


bool
virStorageTPMDirOthersMayWrite(const struct stat *sb)
{
    return (sb->st_mode & S_IWOTH) ||
        ((sb->st_mode & S_IWGRP) && sb->st_gid != 0 && sb->st_gid != getegid());
}


/* Whoever may write to the directory can put one TPM in the place of another,
 * whatever the owner and mode of the volumes are. */
int
virStorageTPMDirCheck(const virStoragePoolDef *def)
{
    struct stat sb = { 0 };

    if (stat(def->target.path, &sb) < 0 && errno != ENOENT && errno != ENOTDIR) {
        virReportSystemError(errno, _("cannot stat directory '%1$s' of tpm pool '%2$s'"),
                             def->target.path, def->name);
        return -1;
    }

    if (!S_ISDIR(sb.st_mode)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("directory '%1$s' of tpm pool '%2$s' does not exist: create it with pool-build"),
                       def->target.path, def->name);
        return -1;
    }

    if (!virStorageTPMDirOthersMayWrite(&sb))
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("directory '%1$s' of tpm pool '%2$s' has mode 0%3$o, which lets other users replace TPM volumes: remove their write permission with chmod"),
                   def->target.path, def->name, sb.st_mode & 07777);
    return -1;
}


/* Size and permissions of the pool's directory. */
int
virStorageTPMDirReadInfo(virStoragePoolDef *def)
{
    struct statvfs fs;
    struct stat sb;

    if (statvfs(def->target.path, &fs) < 0 || stat(def->target.path, &sb) < 0) {
        virReportSystemError(errno, _("cannot stat directory '%1$s'"),
                             def->target.path);
        return -1;
    }

    def->capacity = (unsigned long long)fs.f_frsize * fs.f_blocks;
    def->available = (unsigned long long)fs.f_frsize * fs.f_bfree;
    def->allocation = def->capacity - def->available;

    def->target.perms.mode = sb.st_mode & 07777;
    def->target.perms.uid = sb.st_uid;
    def->target.perms.gid = sb.st_gid;
    return 0;
}


/* What was renamed or removed is so for everybody, whether that is on the disk
 * yet or not: there is no failure left to report. */
void
virStorageTPMDirSync(const char *dir)
{
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        VIR_WARN("cannot sync directory '%s': what was changed in it may be lost if the host crashes: %s",
                 dir, g_strerror(errno));
}


void
virStorageTPMDirRemember(const virStoragePoolDef *def)
{
    g_autofree struct stat *dir = g_new0(struct stat, 1);

    if (stat(def->target.path, dir) < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMDirsLock) {
        if (!virStorageTPMDirs)
            virStorageTPMDirs = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                      g_free, g_free);
        g_hash_table_insert(virStorageTPMDirs, g_strdup(def->target.path),
                            g_steal_pointer(&dir));
    }
}


/* A directory that is made or removed on purpose is nothing to be warned of. */
void
virStorageTPMDirForget(const virStoragePoolDef *def)
{
    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMDirsLock) {
        if (virStorageTPMDirs)
            g_hash_table_remove(virStorageTPMDirs, def->target.path);
    }
}


bool
virStorageTPMDirHasChanged(const virStoragePoolDef *def)
{
    const struct stat *before = NULL;
    struct stat now;

    if (stat(def->target.path, &now) < 0)
        return true;

    VIR_WITH_MUTEX_LOCK_GUARD(&virStorageTPMDirsLock) {
        if (virStorageTPMDirs)
            before = g_hash_table_lookup(virStorageTPMDirs, def->target.path);
        if (before && !virFileIsSameInode(before, &now))
            return true;
    }

    return false;
}


/* Whether there is nothing in the pool's directory but what a new file system
 * has. */
static bool
virStorageTPMDirIsEmpty(const virStoragePoolDef *def)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *ent;

    if (virDirOpenQuiet(&dir, def->target.path) < 0)
        return true;

    while (virDirRead(dir, &ent, NULL) > 0) {
        if (*ent->d_name != '.' && STRNEQ(ent->d_name, "lost+found"))
            return false;
    }

    return true;
}


/* Does not advise to create a volume where one may only be out of sight. */
void
virStorageTPMDirReportMissing(const virStoragePoolDef *def,
                              const char *name)
{
    if (virStorageTPMDirHasChanged(def)) {
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is not the one that held its volumes: check that the file system is mounted"),
                       name, def->name, def->target.path);
        return;
    }

    if (virStorageTPMDirIsEmpty(def)) {
        virReportError(VIR_ERR_NO_STORAGE_VOL,
                       _("TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is empty: check that the file system is mounted"),
                       name, def->name, def->target.path);
        return;
    }

    virReportError(VIR_ERR_NO_STORAGE_VOL,
                   _("TPM volume '%1$s' not found in pool '%2$s': create it with vol-create"),
                   name, def->name);
}
