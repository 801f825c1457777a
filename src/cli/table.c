/* SPDX-License-Identifier: Apache-2.0 */

/* table: every verb of davit, in the order of `davit --help`.  Adding one is a
 * file in verbs/ and a row here; see docs/recipes/add-a-verb.md.
 */

#include "cli/verbs.h"

/* clang-format off */
const struct verb *const verb_table[] = {
    &verb_up,
    &verb_down,
    &verb_job_create,
    &verb_job_add,
    &verb_job_restart,
    &verb_job_kill,
    &verb_job_killall,
    &verb_job_status,
    &verb_job_list,
    &verb_job_diff,
    &verb_job_inspect,
    &verb_job_endpoints,
    &verb_job_open,
    &verb_quota_get,
    &verb_quota_set,
    &verb_sla_get_task_up_count,
    &verb_sla_get_job_uptime,
    &verb_update_start,
    &verb_update_pause,
    &verb_update_resume,
    &verb_update_abort,
    &verb_update_rollback,
    &verb_update_wait,
    &verb_update_list,
    &verb_update_info,
    &verb_update_pulse,
    &verb_cron_schedule,
    &verb_cron_deschedule,
    &verb_cron_start,
    &verb_cron_show,
    &verb_cron_list,
    &verb_task_logs,
    &verb_config_list,
    &verb_config_dump,
    &verb_config_hooks,
    &verb_config_lint,
    &verb_op_list,
    &verb_op_show,
    &verb_op_wait,
    &verb_node_list,
    &verb_node_show,
    &verb_node_drain,
    &verb_node_undrain,
    &verb_node_cordon,
    &verb_node_uncordon,
    &verb_node_set,
    &verb_hook_log,
    &verb_completion,
    &verb_help,
    NULL,
};
/* clang-format on */
