/*
 * storage_backend_tpm.h: storage backend for the state of emulated TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Everything else of the backend is reached by its table of operations.
 */

#pragma once

/**
 * virStorageBackendTPMRegister:
 *
 * Registers the backend of storage pools of type 'tpm'.
 *
 * Returns 0 on success, -1 with an error reported.
 */
int virStorageBackendTPMRegister(void);
