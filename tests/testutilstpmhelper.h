/*
 * testutilstpmhelper.h: shared code of the tests that open TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A fake swtpm and its answers, secrets, and a run directory, for tests of what opens TPMs
 * and of how libvirt_tpmhelper is run.
 */

#pragma once

#include "storage/storage_tpm_bytes.h"
#include "testutilsstoragetpm.h"

#include "storage_conf_tpm.h"

/* How the fake swtpm answers: see storagetpmdata/fakeswtpm.py. */
typedef struct _testFake testFake;
struct _testFake {
    const char *control;
    const char *data;
    const char *log;
    bool hangs; /* it is known to hang, and given up early */
};

/**
 * testFakeSwtpm:
 * @fake: how it answers from now on
 *
 * Returns the path of a fake swtpm.
 */
const char *testFakeSwtpm(const testFake *fake)
    ATTRIBUTE_NONNULL(1);

/**
 * testRealSwtpm:
 *
 * Returns the path of swtpm; NULL if there is none.
 */
const char *testRealSwtpm(void);

/**
 * testUseRunDir:
 *
 * From now on state has a name below a run directory on a tmpfs. Before, it has got a
 * descriptor, as on a host whose run directory is on a disk.
 *
 * Returns the run directory; NULL if there can be none.
 */
const char *testUseRunDir(void);

/**
 * testRunDirCount:
 *
 * Returns how many directories there are in the run directory, if there is one; -1 on
 * error.
 */
int testRunDirCount(void);

/**
 * testRunDirRemove:
 *
 * Returns 0 if there was nothing left in the run directory, -1 otherwise.
 */
int testRunDirRemove(void);

/* How often a secret was read. */
extern size_t testFetched;

/**
 * testUseSecrets:
 * @conn: a connection
 *
 * Has there be secrets, but for one with the usage "missing". The value of a secret
 * is its usage and "'s passphrase".
 */
void testUseSecrets(virConnectPtr conn)
    ATTRIBUTE_NONNULL(1);

/**
 * testToHex:
 * @data: @len bytes
 *
 * Returns them in hex.
 */
char *testToHex(const uint8_t *data,
                size_t len)
    G_GNUC_WARN_UNUSED_RESULT;

/**
 * testFromHex:
 * @hex: bytes in hex
 *
 * Returns the bytes.
 */
virStorageTPMBytes *testFromHex(const char *hex)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testExpand:
 * @data: answers of a TPM, as below
 *
 * Returns them with keys and certificates filled in.
 */
char *testExpand(const char *data)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * testDescribe:
 * @tpm: what a TPM has told
 *
 * Returns "BANKS; TRIES of LIMIT; PROFILE LEVEL; nv INDICES OBJECTS+MORE COUNTERS+MORE;
 * KEY FINGERPRINT; ...", with a + if there is a certificate.
 */
char *testDescribe(const virStorageVolTPMDef *tpm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/* Answers on the control channel. */

#define DONE "00000000"
#define FLAGS "00000000"
#define FAILED "00000101"

/* What a TPM tells of itself. */

#define SUCCESS "80010000000000000000"
#define FAILURE "8001000000000000018b"
#define ZEROS "00000000000000000000000000000000"

/* PCR banks: SHA-1 is there but not active, SHA-256 is. */
#define BANKS SUCCESS "00" "00000005" "00000002" "0004" "03" "000000" "000b" "03" "ffffff"

#define RSA_PUBLIC "0000" "0001" "000b" "000300b2" "0020" ZEROS ZEROS "0006" "0080" "0043"
#define PRIMARY SUCCESS "80000000" "00000000"
#define RSA_BEGIN PRIMARY RSA_PUBLIC
#define RSA2048 RSA_BEGIN "0010" "0800" "00000000" "0100" "{rsa2048}"
#define RSA4096 RSA_BEGIN "0010" "1000" "00000000" "0200" "{rsa4096}"
#define EC_END "0006" "0100" "0043" "0010" "0004" "0010" "0030" "{x}" "0030" "{y}"
#define EC_BEGIN PRIMARY "0000" "0023" "000c" "000300b2" "0000" "0006" "0100" "0043"
#define EC PRIMARY "0000" "0023" "000c" "000300b2" "0000" EC_END

#define LOCKOUT SUCCESS "00" "00000006" "00000003" "00000200" "00000200" \
    "0000020e" "00000002" "0000020f" "00000003"

#define NV_PUBLIC_OF(attributes, len) SUCCESS "0000" "01c00002" "000b" attributes "0000" len
#define NV_PUBLIC(len) NV_PUBLIC_OF("40000000", len)
#define NV(len, part) "80020000000000000000" "00000000" len part
#define CERT_RSA2048 NV_PUBLIC("0319") " " NV("0319", "{rsa2048.crt}")
#define CERT_EC NV_PUBLIC("01cb") " " NV("01cb", "{secp384r1.crt}")
#define CERT_RSA4096 NV_PUBLIC("0519") " " NV("0400", "{rsa4096.crt+}") " " NV("0119", "{+rsa4096.crt}")

/* What comes between the PCR banks and the first slot: properties, and the TPM is
 * cleared. */
#define START FAILURE " " FAILURE " " FAILURE
/* A slot with its certificate and the default template, and one that has only a key. */
#define SLOT(cert, key) cert " " FAILURE " " key " " SUCCESS
#define BARE(key) FAILURE " " key " " SUCCESS
/* No certificates for RSA 3072 and RSA 4096. */
#define NO_LARGE FAILURE " " FAILURE
/* The first slot is of no use, and the next two are not there. */
#define TO_EC FAILURE " " FAILURE " " NO_LARGE
