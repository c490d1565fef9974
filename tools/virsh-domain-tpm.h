/*
 * virsh-domain-tpm.h: commands that show a domain's TPMs
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "virsh.h"

extern const vshCmdOptDef opts_domtpmlist[];
extern const vshCmdInfo info_domtpmlist;

/**
 * cmdDomtpmlist:
 * @ctl: virsh
 * @cmd: the command with its options
 *
 * Prints a table of a domain's TPMs, and the volumes of storage pools that
 * they are on.
 *
 * Returns whether it could; an error was reported if not.
 */
bool
cmdDomtpmlist(vshControl *ctl,
              const vshCmd *cmd);
