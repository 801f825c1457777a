/* SPDX-License-Identifier: Apache-2.0 */

/* davit job open: the page of a cluster, role, environment or job in the browser. */

#include "base/buf.h"
#include "base/str.h"
#include "cli/browser.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#include <stdio.h>

enum { KEY_PARTS = 4 };

static int run_job_open(struct verb_call *call, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(call->operands[0], "/");
    CLEANUP_BUF url = { 0 };
    struct client *client = NULL;

    if (strv_len(parts) > KEY_PARTS || parts[0][0] == '\0') {
        return err_set(err, ERR_USAGE,
                       "argument CLUSTER[/ROLE[/ENV[/NAME]]]: invalid jobkeytype value: '%s'",
                       call->operands[0]);
    }
    if (cli_client(call->cli, parts[0], &client, err) < 0) {
        return err_code(err);
    }
    buf_addf(&url, "%s/scheduler", call->cli->client_cluster->web ?: "");
    for (char **part = parts + 1; *part != NULL; part++) {
        client_segment(&url, *part);
    }
    if (!browser_open(call->cli, buf_text(&url))) {
        CLEANUP(mem_freep) char *shown = str_escape(buf_text(&url));

        (void)printf("%s\n", shown);
    }
    return 0;
}

const struct verb verb_job_open = {
    .noun = "job",
    .name = "open",
    .operands = "CLUSTER[/ROLE[/ENV[/NAME]]]",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Open the page of a cluster, role, environment or job in the browser.",
    .details = "The browser is $BROWSER, else xdg-open; without one the address is printed.",
    .run = run_job_open,
};
