/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

/* What a call's client hooks leave in the timeline: one record (hook/record.h) for each
 * hook that ran, level `client`. */
struct client_hooks_call {
    const char *op_id;  /* The operation that the call asks for; also when it is vetoed. */
    const char *method; /* "create_job" */
    const char *phase;  /* "pre", "post", "err" */
    const char *job;    /* key */
};

/* Append a record for each of the guest's "records" to records.  A refusal in the pre phase
 * is outcome `refused`, any other failure `failed`. */
void client_hooks_record(const struct client_hooks_call *call, const json_t *guest_records,
                         json_t *records);
