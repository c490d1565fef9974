/*
 * storage_tpm_check.h: whether a tpm pool can do what is asked for
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Limits of what is implemented and of what this host has, asked before anything is
 * touched.
 */

#pragma once

#include "storage_conf.h"

/**
 * virStorageTPMCheckTarget:
 * @vol: a volume that is to be made
 *
 * Checks format, encryption, backing store and capacity.
 *
 * Returns 0 if such a volume can be made, -1 with an error reported.
 */
int virStorageTPMCheckTarget(const virStorageVolDef *vol)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;

/**
 * virStorageTPMCheckWipe:
 * @vol: a volume
 * @algorithm: a virStorageVolWipeAlgorithm
 *
 * Returns 0 if the volume can be wiped by the algorithm on this host, -1 with an error
 * reported.
 */
int virStorageTPMCheckWipe(const virStorageVolDef *vol,
                           unsigned int algorithm)
    ATTRIBUTE_NONNULL(1) G_GNUC_WARN_UNUSED_RESULT;
