/*
 * testutilserror.h: what tests expect of errors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tests check by these that the right error is reported, or that none is.
 */

#pragma once

#include "internal.h"

/**
 * testExpectError:
 * @code: the error's code, virErrorNumber
 * @part: a part of its message
 *
 * Takes the last error: the next test begins without one.
 *
 * Returns 0 if it is the expected one, -1 otherwise.
 */
int testExpectError(int code,
                    const char *part)
    ATTRIBUTE_NONNULL(2);

/**
 * testExpectNoError:
 *
 * Returns 0 if there is none, -1 otherwise; then takes it.
 */
int testExpectNoError(void);
