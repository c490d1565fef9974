/*
 * testutilsstoragetpm.h: shared code of the tests of tpm storage pools
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It also replaces functions that depend on the host: programs are run as the user
 * who runs the test, and there is no token of a system daemon.
 */

#pragma once

#include "storage/storage_tpm_bytes.h"
#include "storage_conf.h"
#include "storage_conf_tpm.h"
#include "testutilserror.h"
#include "vircommand.h"

/* No fixture, and nothing that the tests have written, is larger. */
#define TEST_FILE_MAX (128 * 1024)

/* The endorsement keys of the certificates storagetpmdata/ek-*.pem */
#define FINGERPRINT_RSA \
    "sha256:1f7e3197d229c9695ec47c2aec83e64f5ea132da875a19779b600b738d6a3951"
#define FINGERPRINT_RSA4096 \
    "sha256:1350854392294be908c43c52e22f91b249d4488b296e5690c1d2b7b56add9acc"
#define FINGERPRINT_EC \
    "sha256:d3069dab8eb968cf6f153dc8f3b8d4b2f7c8682fa3def11c680120654cc6458f"

/* The endorsement keys that the TPM of virtpmstatedata/tpm2.base64 makes of its seed. */
#define FINGERPRINT_TPM2_RSA \
    "sha256:2e1b630818794d2b606d7a42c2d24ba6c5102c8f56b13fd34ba0c07990c113b1"
#define FINGERPRINT_TPM2_EC \
    "sha256:64cac7d5e03014ad34346c537e13e889b78e3716f07d06bf832d0f69b984acd7"

/**
 * testFixture:
 * @file: name of a file, below libvirt's tests
 *
 * Returns its text. Ends the test program if it cannot be read.
 */
char *testFixture(const char *file)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testState:
 * @fixture: virtpmstatedata/FIXTURE.base64; "" for no bytes
 *
 * Returns the state of a TPM.
 */
virStorageTPMBytes *testState(const char *fixture)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testCertificate:
 * @fixture: name of a PEM file in storagetpmdata
 *
 * Returns the certificate in DER.
 */
virStorageTPMBytes *testCertificate(const char *fixture)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testWrite:
 * @path: the file
 * @bytes: what is to stand in it
 *
 * Ends the test program if that fails.
 */
void testWrite(const char *path,
               const virStorageTPMBytes *bytes)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * testExpectBytes:
 * @bytes: what is there; NULL: nothing, with an error reported
 * @data: what is expected
 * @len: how many bytes of it
 *
 * Returns 0 if they are the same and no error was reported, -1 otherwise.
 */
int testExpectBytes(const virStorageTPMBytes *bytes,
                    const void *data,
                    size_t len);

/**
 * testExpectEndorsement:
 * @endorsement: what is there
 * @key: the expected key; its certificate is storagetpmdata/ek-KEY.pem
 * @fingerprint: the one of the key
 *
 * Returns 0 if it is this key with its certificate, -1 otherwise.
 */
int testExpectEndorsement(const virStorageVolTPMEndorsement *endorsement,
                          const char *key,
                          const char *fingerprint)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) ATTRIBUTE_NONNULL(3);

/**
 * testExpectPassphrase:
 * @cmd: a command
 * @args: its command line
 * @passphrase: the one it needs, or NULL
 *
 * Returns 0 if the passphrase is what the command can read, and stands nowhere
 * else, -1 otherwise.
 */
int testExpectPassphrase(virCommand *cmd,
                         const char *args,
                         const char *passphrase)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2);

/**
 * testPoolNew:
 * @dir: path of a directory
 *
 * Returns the definition of a tpm pool "tpmpool" there, or NULL with an error
 * reported.
 */
virStoragePoolDef *testPoolNew(const char *dir)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testInPool:
 * @func: a test
 * @data: its second argument
 *
 * Runs a test with a pool that has an empty directory of its own, which is gone
 * afterwards.
 *
 * Returns what @func returns, -1 if there can be no such directory.
 */
int testInPool(int (*func)(virStoragePoolDef *pool, const void *data),
               const void *data)
    ATTRIBUTE_NONNULL(1);

/**
 * testPath:
 * @pool: a pool
 * @name: name of a file
 *
 * Returns the path of that file in the pool's directory.
 */
char *testPath(const virStoragePoolDef *pool,
               const char *name)
    ATTRIBUTE_NONNULL(1) ATTRIBUTE_NONNULL(2) G_GNUC_WARN_UNUSED_RESULT;
