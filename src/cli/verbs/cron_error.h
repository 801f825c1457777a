/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "cli/cli.h"

/* What a cron verb ends with when its operation did not succeed: "<what> <key>:" and the error
 * behind a tab on the next line, as scripts know it, exit status 10; 12 when a hook refused.
 * A master that cannot be reached stays what it is. */
int cron_error(const struct cli *cli, const char *what, const char *key, const struct err *err);
