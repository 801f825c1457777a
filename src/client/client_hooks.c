/* SPDX-License-Identifier: Apache-2.0 */

/* client_hooks: the guest's words about its hooks as records of the one timeline.
 *
 * Pure; running the hooks is the guest's, sending the records the caller's.
 */

#include "client/client_hooks.h"

#include "base/json.h"
#include "base/str.h"
#include "hook/record.h"

void client_hooks_record(const struct client_hooks_call *call, const json_t *guest_records,
                         json_t *records)
{
    char host[256] = "localhost";
    size_t i;
    json_t *ran;

    (void)gethostname(host, sizeof host - 1);
    json_array_foreach(guest_records, i, ran)
    {
        CLEANUP(record_fini) struct hook_record record = { 0 };
        CLEANUP(mem_freep) char *event = str_printf("%s_%s", call->phase, call->method);

        record_init(&record, true);
        record_set(&record.level, "client");
        record_set(&record.event, event);
        record_set(&record.phase, call->phase);
        record_set(&record.hook, json_str_or(ran, "name", "hook"));
        record_set(&record.op_id, call->op_id);
        record_set(&record.job, call->job);
        record_set(&record.node, host);
        record_set(&record.error, json_str_or(ran, "error", NULL));
        record.started_ms = (uint64_t)json_int_or(ran, "started_ms", 0);
        record.intent_ms = record.started_ms;
        record.finished_ms = (uint64_t)json_int_or(ran, "finished_ms", 0);
        record.outcome = json_bool_or(ran, "refused", false) ? HOOK_REFUSED
                         : json_bool_or(ran, "ok", true)     ? HOOK_OK
                                                             : HOOK_FAILED;
        (void)json_array_append_new(records, record_to_json(&record));
    }
}
