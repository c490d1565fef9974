/*
 * testfuzz.c: shared code of the fuzz targets
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the targets of libFuzzer have in common: errors are not printed, as most inputs are
 * errors, and what does not hold is a finding.
 */

#include <config.h>

#include "testfuzz.h"

#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NONE


static void
testFuzzNoError(void *opaque G_GNUC_UNUSED,
                virErrorPtr err G_GNUC_UNUSED)
{
}


static int
testFuzzErrorPriority(virErrorPtr err G_GNUC_UNUSED,
                      int priority G_GNUC_UNUSED)
{
    return VIR_LOG_DEBUG;
}


void
testFuzzQuiet(void)
{
    virSetErrorFunc(NULL, testFuzzNoError);
    virSetErrorLogPriorityFunc(testFuzzErrorPriority);

    if (virErrorInitialize() < 0 ||
        virLogSetDefaultPriority(VIR_LOG_ERROR) < 0)
        abort();
}
