/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

enum { REFUSED_STATUS = 10 }; /* The Aurora client's API_ERROR. */

/* Why hooked_run() or operation_run() failed, as the Aurora client words it: the context ("Failed
 * to start update due to error:"), then TAB and what the master said.  Gives back the status to end
 * with: 1 for a client hook's veto, 12 for an operation hook's, 10 when the master said no, and
 * err's own (negative: not printed yet) when it was not asked. */
int refused_report(const struct cli *cli, const struct err *err, bool vetoed, const char *context);
