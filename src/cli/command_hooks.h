/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/verb.h"

/* Command hooks: Python that stands around a whole command, whatever it does.  They come from
 * plugin files, each read when it is there:
 *   $AURORA_CONFIG_ROOT/command_hooks.py    (default /etc/aurora)
 *   ~/.aurora/command_hooks.py
 *   $XDG_CONFIG_HOME/davit/command_hooks.py (default ~/.config)
 * With none of them a command costs a few stat() calls. */

/* Run the plugin files and the pre hooks.  argv (n words) is the command line behind the
 * program's name.  ERR_*, or the status so far; with *ret_ended it is the command's (it was
 * told why), which is not to run. */
int command_hooks_before(struct verb_call *call, int n, char **argv, bool *ret_ended,
                         struct err *err);

/* Run the post hooks of a command that ended with 0; the status to end with. */
int command_hooks_after(struct verb_call *call, int n, char **argv);
