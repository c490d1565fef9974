/*
 * testfuzz.h: shared code of the fuzz targets
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the targets of libFuzzer have in common: errors are not printed, as most inputs are
 * errors, and what does not hold is a finding.
 */

#pragma once

#include "internal.h"

/**
 * LLVMFuzzerInitialize:
 * @argc, @argv: arguments of the program
 *
 * To be defined by each target: called once, before the first input.
 *
 * Returns 0.
 */
int LLVMFuzzerInitialize(int *argc,
                         char ***argv);

/**
 * LLVMFuzzerTestOneInput:
 * @data: an input of @len bytes
 *
 * To be defined by each target: gives the input to what is tested, and ends the
 * process if something does not hold.
 *
 * Returns 0.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data,
                           size_t len);

/* What does not hold is a finding. */
#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", \
                    __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/**
 * testFuzzQuiet:
 *
 * Keeps errors and warnings from being printed: most inputs are errors, and
 * that would take most of the time.
 */
void testFuzzQuiet(void);
