/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/verb.h"

/* One constant per verb; each lives in verbs/<noun>_<verb>.c, and table.c lists them. */
extern const struct verb verb_completion;
extern const struct verb verb_config_dump;
extern const struct verb verb_config_hooks;
extern const struct verb verb_config_lint;
extern const struct verb verb_config_list;
extern const struct verb verb_cron_deschedule;
extern const struct verb verb_cron_list;
extern const struct verb verb_cron_schedule;
extern const struct verb verb_cron_show;
extern const struct verb verb_cron_start;
extern const struct verb verb_down;
extern const struct verb verb_help;
extern const struct verb verb_hook_log;
extern const struct verb verb_job_add;
extern const struct verb verb_job_create;
extern const struct verb verb_job_diff;
extern const struct verb verb_job_endpoints;
extern const struct verb verb_job_inspect;
extern const struct verb verb_job_kill;
extern const struct verb verb_job_killall;
extern const struct verb verb_job_list;
extern const struct verb verb_job_open;
extern const struct verb verb_job_restart;
extern const struct verb verb_job_status;
extern const struct verb verb_node_cordon;
extern const struct verb verb_node_drain;
extern const struct verb verb_node_list;
extern const struct verb verb_node_set;
extern const struct verb verb_node_show;
extern const struct verb verb_node_uncordon;
extern const struct verb verb_node_undrain;
extern const struct verb verb_op_list;
extern const struct verb verb_op_show;
extern const struct verb verb_op_wait;
extern const struct verb verb_quota_get;
extern const struct verb verb_quota_set;
extern const struct verb verb_runtask;
extern const struct verb verb_sla_get_job_uptime;
extern const struct verb verb_sla_get_task_up_count;
extern const struct verb verb_task_logs;
extern const struct verb verb_task_run;
extern const struct verb verb_task_scp;
extern const struct verb verb_task_ssh;
extern const struct verb verb_up;
extern const struct verb verb_update_abort;
extern const struct verb verb_update_info;
extern const struct verb verb_update_list;
extern const struct verb verb_update_pause;
extern const struct verb verb_update_pulse;
extern const struct verb verb_update_resume;
extern const struct verb verb_update_rollback;
extern const struct verb verb_update_start;
extern const struct verb verb_update_wait;
