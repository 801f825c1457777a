/* SPDX-License-Identifier: Apache-2.0 */

/* refused: how a request that was not carried out is told.
 *
 * job_create.c has words and codes of its own.
 */

#include "cli/refused.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const char updating[] = "Job is currently updating";

/* Nobody decided anything: the request did not get that far. */
static bool was_not_asked(int code)
{
    return code == ERR_UNREACHABLE || code == ERR_TIMEOUT || code == ERR_EOF ||
           code == ERR_NOTLEADER || code == ERR_UNAUTH || code == ERR_DENIED ||
           code == ERR_CANCELED;
}

int refused_report(const struct cli *cli, const struct err *err, bool vetoed, const char *context)
{
    CLEANUP(mem_freep) char *message = str_escape(err->msg);
    int status = err->code == ERR_REFUSED ? err_exit_status(ERR_REFUSED) : REFUSED_STATUS;

    if (vetoed) {
        return cli_report(cli, err, 1);
    }
    if (was_not_asked(err->code)) {
        return err_code(err);
    }
    if (cli->json) {
        return cli_report(cli, err, status);
    }
    (void)fprintf(stderr, "%s\n\t%s\n", context, message);
    if (strstr(err->msg, updating) != NULL) {
        (void)fprintf(stderr, "\tError: job is locked by an active update.\n"
                              "\tRun 'aurora update abort' or wait for the active update to "
                              "finish.\n");
    }
    return status;
}
