/*
 * storage_tpm_name.h: names of the files in the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a file is a volume, a sidecar or a temporary is told by its name alone.
 * storage_tpm_name.c lists the names.
 */

#pragma once

#include "storage_conf.h"

/* A volume or sidecar that is being made, and the old content of a volume. */
#define VIR_STORAGE_TPM_TEMP_SUFFIX ".tmptpm"
#define VIR_STORAGE_TPM_OLD_SUFFIX ".oldtpm"

/**
 * virStorageTPMNameIsVolume:
 * @name: name of a file in a pool's directory
 *
 * Tells volumes from other files by name alone, for a pool of many volumes
 * has as many sidecars.
 *
 * Returns true if a volume may have that name. Warns in the log about names that are
 * neither a volume's nor one of libvirt's own.
 */
bool virStorageTPMNameIsVolume(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMNameOfSidecar:
 * @name: name of a file in a pool's directory
 *
 * Returns the name of the volume if the file's name is that of a sidecar, else
 * NULL.
 */
char *virStorageTPMNameOfSidecar(const char *name)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMNameSidecarPath:
 * @pool: definition of the pool
 * @name: name of a volume
 *
 * Returns the path of the volume's sidecar.
 */
char *virStorageTPMNameSidecarPath(const virStoragePoolDef *pool,
                                   const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMNameOfTemp:
 * @name: name of a file in a pool's directory
 * @suffix: VIR_STORAGE_TPM_TEMP_SUFFIX or VIR_STORAGE_TPM_OLD_SUFFIX
 *
 * Returns the name of the volume if the file's name is that of a temporary with this
 * suffix, else NULL.
 */
char *virStorageTPMNameOfTemp(const char *name,
                              const char *suffix)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMNameNewTemp:
 * @dir: the pool's directory
 * @name: name of a volume
 * @suffix: VIR_STORAGE_TPM_TEMP_SUFFIX or VIR_STORAGE_TPM_OLD_SUFFIX
 *
 * Returns a path for a temporary that most probably no file has.
 */
char *virStorageTPMNameNewTemp(const char *dir,
                               const char *name,
                               const char *suffix)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3)
    G_GNUC_WARN_UNUSED_RESULT;
