/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/* Shows the address in the user's browser: $BROWSER, else xdg-open where there is a display.
 * False where there is none, or none can be started. */
bool browser_open(struct cli *cli, const char *url);

/* What --open-browser of a verb that has succeeded asks for: its job's page. */
void browser_after(struct verb_call *call);
