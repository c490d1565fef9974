/*
 * storage_tpm_name.c: names of the files in the directory of a tpm pool
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * NAME                 a volume
 *   NAME.tpm.xml         its sidecar: what the bytes do not tell
 *   .NAME.XXXXXX.tmptpm  a temporary: a volume or sidecar that is being made
 *   .NAME.XXXXXX.oldtpm  a temporary: the old content of a volume, to be overwritten
 *   .NAME.lock           what a swtpm has locked that uses the volume; see storage_vol_tpm_use.h
 *
 * What a volume may be named is decided in storage_conf_tpm.c.
 */

#include <config.h>

#include "storage_conf_tpm.h"
#include "storage_tpm_name.h"
#include "virlog.h"
#include "virrandom.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_tpm_name");


bool
virStorageTPMNameIsVolume(const char *name)
{
    g_autofree char *escaped = NULL;

    switch (virStorageVolTPMNameClassify(name)) {
    case VIR_STORAGE_VOL_TPM_NAME_GOOD:
        return true;

    case VIR_STORAGE_VOL_TPM_NAME_LONG:
    case VIR_STORAGE_VOL_TPM_NAME_CHARACTER:
        escaped = virStorageVolTPMNameEscape(name);
        VIR_WARN("ignoring file '%s' in a tpm pool: a volume cannot have that name", escaped);
        return false;

    case VIR_STORAGE_VOL_TPM_NAME_EMPTY:
    case VIR_STORAGE_VOL_TPM_NAME_DOT:
    case VIR_STORAGE_VOL_TPM_NAME_SIDECAR:
        break;
    }

    return false;
}


char *
virStorageTPMNameOfSidecar(const char *name)
{
    const size_t suffix = strlen(VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX);

    if (!virStringHasSuffix(name, VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX))
        return NULL;

    return g_strndup(name, strlen(name) - suffix);
}


char *
virStorageTPMNameSidecarPath(const virStoragePoolDef *pool,
                             const char *name)
{
    return g_strdup_printf("%s/%s" VIR_STORAGE_VOL_TPM_SIDECAR_SUFFIX,
                           pool->target.path, name);
}


/* .NAME.XXXXXX.tmptpm or .NAME.XXXXXX.oldtpm, where X is a letter or digit.
 * Returns NAME, or NULL if it is none. */
char *
virStorageTPMNameOfTemp(const char *name,
                        const char *suffix)
{
    size_t len = strlen(name);
    size_t tail = strlen(".XXXXXX") + strlen(suffix);
    const char *random;
    size_t i;

    if (*name != '.' || len < strlen(".N") + tail ||
        !virStringHasSuffix(name, suffix))
        return NULL;

    random = name + len - tail;
    for (i = 1; i < strlen(".XXXXXX"); i++) {
        if (!g_ascii_isalnum(random[i]))
            return NULL;
    }

    return *random == '.' ? g_strndup(name + 1, random - name - 1) : NULL;
}


/* A name that most probably no file has. */
char *
virStorageTPMNameNewTemp(const char *dir,
                         const char *name,
                         const char *suffix)
{
    return g_strdup_printf("%s/.%s.%06x%s", dir, name,
                           (unsigned int)virRandomBits(24), suffix);
}
