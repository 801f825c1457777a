/* SPDX-License-Identifier: Apache-2.0 */

/* How the cron verbs report what the master refused. */

#include "cli/verbs/cron_error.h"

#include "base/str.h"

#include <stdio.h>

enum { API_ERROR = 10 };

int cron_error(const struct cli *cli, const char *what, const char *key, const struct err *err)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);
    int status = err->code == ERR_REFUSED ? err_exit_status(ERR_REFUSED) : API_ERROR;

    if (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UNAUTH ||
        err->code == ERR_EOF || err->code == ERR_NOTLEADER) {
        return err_code(err);
    }
    if (cli->json) {
        return cli_report(cli, err, status);
    }
    (void)fprintf(stderr, "%s %s:\n\t%s\n", what, key, message);
    return status;
}
