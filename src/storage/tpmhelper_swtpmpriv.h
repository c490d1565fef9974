/*
 * tpmhelper_swtpmpriv.h: functions of tpmhelper_swtpm.c exposed for tests
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of swtpm is built without running it, so that it can be compared
 * with what is expected.
 */

#ifndef LIBVIRT_TPMHELPER_SWTPMPRIV_H_ALLOW
# error "tpmhelper_swtpmpriv.h may only be included by tpmhelper_swtpm.c or test suites"
#endif /* LIBVIRT_TPMHELPER_SWTPMPRIV_H_ALLOW */

#pragma once

#include "tpmhelper_swtpm.h"
#include "vircommand.h"

/**
 * virTPMHelperSwtpmBuildCommand:
 * @spec: which swtpm it is
 * @data: descriptor of its end of the data channel
 * @control: descriptor of its end of the control channel
 * @state: path of the file that holds the state
 *
 * Returns the command that runs swtpm on the state, to be given all descriptors.
 */
virCommand *
virTPMHelperSwtpmBuildCommand(const virTPMHelperSwtpmSpec *spec,
                              int data,
                              int control,
                              const char *state);
