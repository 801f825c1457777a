/* SPDX-License-Identifier: Apache-2.0 */

/* opcodes: the table of everything that an operation can consist of. */

#include "master/operations/opcodes.h"

#include "base/str.h"

const struct opcode *const opcodes_table[] = {
    &opcode_cron_add,        &opcode_cron_remove,   &opcode_cron_set_params,
    &opcode_cron_start,      &opcode_job_create,    &opcode_job_kill,
    &opcode_job_restart,     &opcode_job_scale,     &opcode_update_start,
    &opcode_update_pause,    &opcode_update_resume, &opcode_update_abort,
    &opcode_update_rollback, &opcode_node_evacuate, &opcode_node_set_params,
    &opcode_quota_set,       &opcode_test_delay,    NULL,
};

const struct opcode *opcodes_find(const struct opcode *const *table, const char *name)
{
    while (*table != NULL && !str_eq((*table)->name, name)) {
        table++;
    }
    return *table;
}
