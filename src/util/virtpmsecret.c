/*
 * virtpmsecret.c: the passphrase of a TPM volume
 *
 * The secret driver is asked with the daemon's own identity. That a secret is not defined,
 * has no value, or is not meant for TPMs is reported here; that none is known for a volume
 * is reported by storage_vol_tpm.c. A program gets the passphrase by a descriptor that it
 * inherits: never as an argument, in the environment or in a file with a name.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "datatypes.h"
#include "driver.h"
#include "virerror.h"
#include "viridentity.h"
#include "virsecureerase.h"
#include "virtpmsecret.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_TPM


/* How messages name a secret. */
static char *
virTPMSecretDescribe(const virSecretLookupTypeDef *lookup)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (lookup->type == VIR_SECRET_LOOKUP_TYPE_USAGE)
        return g_strdup_printf("usage='%s'", lookup->u.usage);

    return g_strdup_printf("uuid='%s'", virUUIDFormat(lookup->u.uuid, uuid));
}


static virSecretPtr
virTPMSecretLookup(virConnectPtr conn,
                   const virSecretLookupTypeDef *lookup)
{
    if (lookup->type == VIR_SECRET_LOOKUP_TYPE_USAGE)
        return conn->secretDriver->secretLookupByUsage(conn,
                                                       VIR_SECRET_USAGE_TYPE_VTPM,
                                                       lookup->u.usage);

    return conn->secretDriver->secretLookupByUUID(conn, lookup->u.uuid);
}


int
virTPMSecretGet(const virSecretLookupTypeDef *lookup,
                const char *pool,
                const char *vol,
                uint8_t **value,
                size_t *len)
{
    g_autofree char *name = virTPMSecretDescribe(lookup);
    g_autoptr(virConnect) conn = NULL;
    g_autoptr(virSecret) secret = NULL;
    VIR_IDENTITY_AUTORESTORE virIdentity *oldident = virIdentityElevateCurrent();

    if (!oldident || !(conn = virGetConnectSecret()))
        return -1;

    if (!(secret = virTPMSecretLookup(conn, lookup))) {
        if (virGetLastErrorCode() == VIR_ERR_NO_SECRET)
            virReportError(VIR_ERR_NO_SECRET,
                           _("secret %1$s of TPM volume '%2$s' of pool '%3$s' is not defined: define it with secret-define, with usage type 'vtpm'"),
                           name, vol, pool);
        return -1;
    }

    if (secret->usageType != VIR_SECRET_USAGE_TYPE_NONE &&
        secret->usageType != VIR_SECRET_USAGE_TYPE_VTPM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("secret %1$s of TPM volume '%2$s' of pool '%3$s' has usage type '%4$s': use a secret with usage type 'vtpm' or none"),
                       name, vol, pool,
                       virSecretUsageTypeToString(secret->usageType));
        return -1;
    }

    if (!(*value = conn->secretDriver->secretGetValue(secret, len, 0))) {
        if (virGetLastErrorCode() == VIR_ERR_NO_SECRET)
            virReportError(VIR_ERR_NO_SECRET,
                           _("secret %1$s of TPM volume '%2$s' of pool '%3$s' has no value: set it with secret-set-value"),
                           name, vol, pool);
        return -1;
    }

    return 0;
}


/* Has @cmd find @value behind a descriptor, which it takes. */
static int
virTPMSecretSend(virCommand *cmd,
                 uint8_t **value,
                 size_t len,
                 const char *pool,
                 const char *vol)
{
    int fd = virCommandSetSendBuffer(cmd, value, len);

    if (fd < 0)
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot pass the passphrase of TPM volume '%1$s' of pool '%2$s' to a child process"),
                       vol, pool);

    return fd;
}


int
virTPMSecretAddFD(virCommand *cmd,
                  const virSecretLookupTypeDef *lookup,
                  const char *pool,
                  const char *vol,
                  int *second)
{
    g_autofree uint8_t *value = NULL;
    size_t len;
    int fd;

    if (virTPMSecretGet(lookup, pool, vol, &value, &len) < 0)
        return -1;

    if (len == 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("secret of TPM volume '%1$s' of pool '%2$s' is empty: set its value with secret-set-value"),
                       vol, pool);
        return -1;
    }

    if (second) {
        g_autofree uint8_t *copy = g_new0(uint8_t, len);

        memcpy(copy, value, len);
        if ((*second = virTPMSecretSend(cmd, &copy, len, pool, vol)) < 0) {
            virSecureErase(value, len);
            return -1;
        }
    }

    if ((fd = virTPMSecretSend(cmd, &value, len, pool, vol)) < 0)
        return -1;

    return fd;
}
