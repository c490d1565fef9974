/*
 * testutilserror.c: what tests expect of errors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compares the error that the code under test has reported with the one that a test
 * expects, and forgets it.
 */

#include <config.h>

#include "testutils.h"
#include "testutilserror.h"

#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NONE


int
testExpectError(int code,
                const char *part)
{
    g_autofree char *message = g_strdup(virGetLastErrorMessage());
    int actual = virGetLastErrorCode();

    virResetLastError();

    if (actual == code && strstr(message, part))
        return 0;

    VIR_TEST_VERBOSE("expected error %d with '%s', got %d: %s",
                     code, part, actual, message);
    return -1;
}


int
testExpectNoError(void)
{
    if (virGetLastErrorCode() == VIR_ERR_OK)
        return 0;

    VIR_TEST_VERBOSE("unexpected error: %s", virGetLastErrorMessage());
    virResetLastError();
    return -1;
}
