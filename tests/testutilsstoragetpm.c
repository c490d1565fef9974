/*
 * testutilsstoragetpm.c: shared code of the tests of tpm storage pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pool in a directory of its own, descriptions and volumes for it, and what replaces the
 * functions that depend on the host.
 */

#include <config.h>

#include "testutilsstoragetpm.h"

#include "storage/storage_tpm_bytes.h"
#include "testutils.h"
#include "virfile.h"
#include "viridentity.h"
#include "virutil.h"
#define LIBVIRT_VIRCOMMANDPRIV_H_ALLOW
#include "vircommandpriv.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* In place of libvirt's own. */

int
virGetUserID(const char *name G_GNUC_UNUSED,
             uid_t *uid)
{
    *uid = geteuid();
    return 0;
}


int
virGetGroupID(const char *name G_GNUC_UNUSED,
              gid_t *gid)
{
    *gid = getegid();
    return 0;
}


virIdentity *
virIdentityElevateCurrent(void)
{
    return virIdentityNew();
}


void
virIdentityRestoreHelper(virIdentity **identptr)
{
    g_clear_object(identptr);
}


char *
testFixture(const char *file)
{
    g_autofree char *path = g_strdup_printf("%s/%s", abs_srcdir, file);
    char *text = NULL;

    if (virFileReadAll(path, TEST_FILE_MAX, &text) < 0)
        abort();

    return text;
}


static virStorageTPMBytes *
testDecode(const char *text)
{
    virStorageTPMBytes *bytes = g_new0(virStorageTPMBytes, 1);

    bytes->data = g_base64_decode(text, &bytes->len);
    return bytes;
}


virStorageTPMBytes *
testState(const char *fixture)
{
    g_autofree char *file = g_strdup_printf("virtpmstatedata/%s.base64", fixture);
    g_autofree char *text = NULL;

    if (*fixture == '\0')
        return g_new0(virStorageTPMBytes, 1);

    text = testFixture(file);
    return testDecode(text);
}


virStorageTPMBytes *
testCertificate(const char *fixture)
{
    g_autofree char *file = g_strdup_printf("storagetpmdata/%s", fixture);
    g_autofree char *text = testFixture(file);

    /* base64 between two lines of dashes */
    *strstr(text, "-----END") = '\0';
    return testDecode(strchr(text, '\n'));
}


void
testWrite(const char *path,
          const virStorageTPMBytes *bytes)
{
    if (!g_file_set_contents(path, (char *)bytes->data, bytes->len, NULL))
        abort();
}


int
testExpectBytes(const virStorageTPMBytes *bytes,
                const void *data,
                size_t len)
{
    if (bytes && bytes->len == len && (len == 0 || memcmp(bytes->data, data, len) == 0))
        return testExpectNoError();

    VIR_TEST_VERBOSE("got %zu bytes, not the %zu expected: %s",
                     bytes ? bytes->len : 0, len, virGetLastErrorMessage());
    virResetLastError();
    return -1;
}


int
testExpectEndorsement(const virStorageVolTPMEndorsement *endorsement,
                      const char *key,
                      const char *fingerprint)
{
    g_autofree char *pem = g_strdup_printf("%s/storagetpmdata/ek-%s.pem",
                                           abs_srcdir, key);

    if (virTestCompareToString(key, endorsement->key) < 0 ||
        virTestCompareToString(fingerprint, endorsement->fingerprint) < 0)
        return -1;

    return virTestCompareToFile(endorsement->certificate, pem);
}


int
testExpectPassphrase(virCommand *cmd,
                     const char *args,
                     const char *passphrase)
{
    virCommandSendBuffer *buffers = NULL;
    int nbuffers = 0;

    virCommandPeekSendBuffers(cmd, &buffers, &nbuffers);

    if (!passphrase)
        return nbuffers == 0 ? 0 : -1;

    if (strstr(args, passphrase) || nbuffers != 1)
        return -1;

    return buffers[0].buflen == strlen(passphrase) &&
           memcmp(buffers[0].buffer, passphrase, buffers[0].buflen) == 0 ? 0 : -1;
}


virStoragePoolDef *
testPoolNew(const char *dir)
{
    g_autofree char *xml = g_strdup_printf("<pool type='tpm'>"
                                           "  <name>tpmpool</name>"
                                           "  <target><path>%s</path></target>"
                                           "</pool>", dir);

    return virStoragePoolDefParse(xml, NULL, 0);
}


int
testInPool(int (*func)(virStoragePoolDef *pool, const void *data),
           const void *data)
{
    char dir[] = abs_builddir "/storagetpm-XXXXXX";
    g_autoptr(virStoragePoolDef) pool = NULL;
    int ret = -1;

    if (!g_mkdtemp(dir))
        return -1;

    if ((pool = testPoolNew(dir)))
        ret = func(pool, data);

    virFileDeleteTree(dir);
    return ret;
}


char *
testPath(const virStoragePoolDef *pool,
         const char *name)
{
    return g_strdup_printf("%s/%s", pool->target.path, name);
}
