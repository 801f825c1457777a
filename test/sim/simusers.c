/* SPDX-License-Identifier: Apache-2.0 */
/* simusers: random jobs, and random requests about them.
 *
 * Not all of them make sense: a kill of what is not there, an update of what has just been killed.
 * What they lead to is simmodel.c's.
 */
#include "simusers.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "simloop.h"

#include <stdio.h>
#include <string.h>

enum { MIB = 1024 * 1024 };

static char *a_job(const struct simusers *users)
{
    return str_printf("sim/www/prod/j%zu", (size_t)(sim_rand() % users->n_jobs));
}

/* ---- Configurations ---- */

static json_t *a_constraint(const struct simusers *users)
{
    switch (sim_rand() % 5) {
    case 0:
        return json_pack("{s:s}", "host", sim_chance(500) ? "limit:1" : "limit:2");
    case 1:
        return json_pack("{s:s}", "rack", sim_chance(500) ? "limit:1" : "limit:3");
    case 2:
        return json_pack("{s:s}", "rack", sim_chance(500) ? "r0,r1" : "!r2");
    case 3:
        return json_pack("{s:s, s:s}", "rack", sim_chance(500) ? "r0" : "!r0", "host", "limit:4");
    default:
        return json_pack("{s:s}", "dedicated", sim_chance(800) ? "www/web" : "*/any");
    }
    (void)users;
}

static void put_choices(const struct simusers *users, json_t *doc)
{
    static const char *const tiers[] = { "preemptible", "preemptible", "preferred", "revocable" };

    if (!sim_chance(users->choosy)) {
        return;
    }
    if (sim_chance(500)) {
        json_put_take(doc, "constraints", a_constraint(users));
    }
    if (sim_chance(400)) {
        json_put_str(doc, "tier", tiers[sim_rand() % 4]);
    }
    if (sim_chance(300)) {
        json_put_int(doc, "priority", (int64_t)sim_between(0, 3));
    }
    if (sim_chance(300)) {
        json_put_take(doc, "partition_policy",
                      json_pack("{s:b, s:I}", "reschedule", (int)sim_chance(700), "delay_secs",
                                (json_int_t)sim_between(0, 200)));
    }
}

static json_t *a_config(const struct simusers *users, const char *key, bool service, bool sick)
{
    unsigned ports = sim_chance(400) ? (unsigned)sim_between(1, 2) : 0;
    char plan[64];
    json_t *doc;

    if (sick) {
        (void)snprintf(plan, sizeof(plan), "sick");
    } else if (users->tasks_die > 0 && sim_chance(users->tasks_die)) {
        (void)snprintf(plan, sizeof(plan), "crash:%u", (unsigned)sim_between(100, 1000));
    } else if (!service) {
        (void)snprintf(plan, sizeof(plan), "done:%u", (unsigned)sim_between(10, 900 * 1000));
    } else {
        (void)snprintf(plan, sizeof(plan), "good");
    }
    /* The number makes it another configuration than any before. */
    CLEANUP(mem_freep)
    char *cmdline =
        str_printf("plan=%s %s %s %u", plan, ports > 0 ? "{{thermos.ports[http]}}" : "",
                   ports > 1 ? "{{thermos.ports[admin]}}" : "", (unsigned)sim_between(0, 1000));
    int64_t failures = sim_chance(500) ? 1 : sim_chance(500) ? -1 : (int64_t)sim_between(2, 5);

    doc = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:b, s:I, s:{s:s, s:{s:f, s:I, s:I}, s:[{s:s, s:s}]}}",
        "cluster", "sim", "role", "www", "environment", "prod", "name", strrchr(key, '/') + 1,
        "instances", (int)(sim_chance(800) ? sim_between(1, 6) : sim_between(6, 40)), "service",
        (int)service, "max_task_failures", failures, "task", "name", "t", "resources", "cpu",
        (double)sim_between(1, 20) / 10, "ram", (json_int_t)sim_between(16, 512) * MIB, "disk",
        (json_int_t)sim_between(16, 512) * MIB, "processes", "name", "p", "cmdline", cmdline);
    put_choices(users, doc);
    return doc;
}

static json_t *some_instances(unsigned most)
{
    json_t *instances = json_array();

    for (uint64_t n = sim_between(1, 3); n > 0; n--) {
        json_array_append_new(instances, json_integer((json_int_t)sim_between(0, most)));
    }
    return instances;
}

/* ---- Requests ---- */

/* What an SLA is for: many small ones that matter. */
static void make_large(json_t *config)
{
    json_t *resources = json_object_get(json_object_get(config, "task"), "resources");

    json_put_int(config, "instances", (int64_t)sim_between(20, 28));
    json_put_str(config, "tier", "preferred");
    json_put_num(resources, "cpu", 0.1);
    (void)json_object_del(config, "constraints");
}

static void ask_create(const struct simusers *users, const char *key)
{
    json_t *config = a_config(users, key, sim_chance(800), false);

    if (users->moving > 0 && sim_chance(250)) {
        make_large(config);
    }

    simops_ask_take(users->ops, json_pack("{s:s, s:o}", "op", "OP_JOB_CREATE", "job", config));
}

static void ask_kill(const struct simusers *users, const char *key)
{
    json_t *instances = sim_chance(400) ? some_instances(6) : json_null();

    simops_ask_take(users->ops, json_pack("{s:s, s:s, s:o}", "op", "OP_JOB_KILL", "key", key,
                                          "instances", instances));
}

static json_t *a_strategy(void)
{
    json_t *config = json_object();

    switch (sim_rand() % 4) {
    case 0:
        json_put_take(config, "update_strategy",
                      json_pack("{s:[i,i], s:b}", "batch_sizes", (int)sim_between(1, 2),
                                (int)sim_between(1, 4), "autopause_after_batch",
                                (int)sim_chance(500)));
        break;
    case 1:
        json_put_take(config, "update_strategy",
                      json_pack("{s:i, s:b}", "batch_size", (int)sim_between(1, 3),
                                "autopause_after_batch", (int)sim_chance(300)));
        break;
    default:
        json_put_int(config, "batch_size", (int64_t)sim_between(1, 4));
        json_put_bool(config, "wait_for_batch_completion", sim_chance(300));
        break;
    }
    json_put_int(config, "watch_secs", sim_chance(300) ? 0 : (int64_t)sim_between(0, 60));
    json_put_int(config, "max_per_shard_failures",
                 sim_chance(500) ? 0 : (int64_t)sim_between(0, 2));
    json_put_int(config, "max_total_failures", sim_chance(500) ? 0 : (int64_t)sim_between(0, 2));
    json_put_bool(config, "rollback_on_failure", sim_chance(700));
    if (sim_chance(100)) {
        json_put_int(config, "pulse_interval_secs", (int64_t)sim_between(60, 300));
    }
    return config;
}

static void ask_update(const struct simusers *users, const char *key)
{
    json_t *config = a_config(users, key, true, sim_chance(300));
    json_t *instances = sim_chance(200) ? some_instances(3) : json_null();

    json_put_take(config, "update_config", a_strategy());
    simops_ask_take(users->ops, json_pack("{s:s, s:o, s:o}", "op", "OP_JOB_UPDATE_START", "job",
                                          config, "instances", instances));
}

static void ask_command(const struct simusers *users, const char *key, const char *op)
{
    simmodel_commanded(users->model, key, op);
    simops_ask_take(users->ops, json_pack("{s:s, s:s}", "op", op, "key", key));
}

static void ask_about_update(const struct simusers *users, const char *key)
{
    static const char *const commands[] = { "OP_JOB_UPDATE_PAUSE", "OP_JOB_UPDATE_RESUME",
                                            "OP_JOB_UPDATE_RESUME", "OP_JOB_UPDATE_ROLLBACK",
                                            "OP_JOB_UPDATE_ABORT" };

    if (simmodel_update(users->model, key) == NULL) {
        ask_update(users, key);
    } else if (sim_chance(300)) {
        simops_pulse(users->ops, simmodel_update(users->model, key));
    } else if (sim_chance(500)) {
        ask_command(users, key, commands[sim_rand() % 5]);
    } else if (sim_chance(500)) {
        ask_kill(users, key); /* Must be refused. */
    }
}

static void ask_restart(const struct simusers *users, const char *key)
{
    json_t *instances = sim_chance(400) ? some_instances(4) : json_null();

    simops_ask_take(users->ops,
                    json_pack("{s:s, s:s, s:o, s:i, s:i, s:i, s:i}", "op", "OP_JOB_RESTART", "key",
                              key, "instances", instances, "batch_size", (int)sim_between(1, 4),
                              "watch_secs", (int)sim_between(0, 30), "max_per_instance_failures",
                              (int)sim_between(0, 2), "max_total_failures",
                              (int)sim_between(0, 2)));
}

static void ask_add(const struct simusers *users, const char *key)
{
    for (int i = 45; i < 64; i++) {
        if (simcheck_instance(users->check, key, i) != NULL) {
            return; /* The model has an end. */
        }
    }
    simops_ask_take(users->ops,
                    json_pack("{s:s, s:s, s:i, s:i}", "op", "OP_JOB_SCALE", "key", key, "instance",
                              (int)sim_between(0, 3), "count", (int)sim_between(1, 3)));
}

static void ask_node(const struct simusers *users)
{
    CLEANUP(mem_freep) char *node = str_printf("n%zu", (size_t)(sim_rand() % users->n_nodes));

    switch (sim_rand() % 4) {
    case 0:
        simops_ask_take(users->ops,
                        json_pack("{s:s, s:s, s:I, s:i, s:i}", "op", "OP_NODE_EVACUATE", "node",
                                  node, "timeout_ms",
                                  (json_int_t)(sim_chance(500) ? sim_between(0, 600 * 1000)
                                                               : sim_between(0, 7200 * 1000)),
                                  "percentage", (int)sim_between(50, 100), "duration_secs",
                                  (int)sim_between(0, 300)));
        break;
    case 1:
        simops_ask_take(users->ops, json_pack("{s:s, s:s, s:s}", "op", "OP_NODE_SET_PARAMS", "node",
                                              node, "mode", "cordoned"));
        break;
    default:
        simops_ask_take(users->ops, json_pack("{s:s, s:s, s:s}", "op", "OP_NODE_SET_PARAMS", "node",
                                              node, "mode", "active"));
        break;
    }
}

static char *a_cron(void)
{
    return str_printf("sim/www/prod/c%u", (unsigned)(sim_rand() % 2));
}

static void ask_cron(const struct simusers *users)
{
    static const char *const schedules[] = { "* * * * *", "*/2 * * * *", "*/7 * * * *",
                                             "0-30 * * * *" };
    CLEANUP(mem_freep) char *key = a_cron();
    json_t *config;

    switch (sim_rand() % 5) {
    case 0:
    case 1:
        config = a_config(users, key, false, false);
        json_put_int(config, "instances", (int64_t)sim_between(1, 4));
        json_put_str(config, "cron_schedule", schedules[sim_rand() % 4]);
        json_put_str(config, "cron_collision_policy",
                     sim_chance(500) ? "KILL_EXISTING" : "CANCEL_NEW");
        simops_ask_take(users->ops,
                        json_pack("{s:s, s:o}", "op",
                                  sim_chance(600) ? "OP_CRON_ADD" : "OP_CRON_SET_PARAMS", "job",
                                  config));
        break;
    case 2:
        simops_ask_take(users->ops, json_pack("{s:s, s:s}", "op", "OP_CRON_START", "key", key));
        break;
    case 3:
        ask_kill(users, key);
        break;
    default:
        simops_ask_take(users->ops, json_pack("{s:s, s:s}", "op", "OP_CRON_REMOVE", "key", key));
        break;
    }
}

void simusers_begin(const struct simusers *users)
{
    if (sim_chance(200)) {
        return; /* No quota: nothing of the tier preferred. */
    }
    bool large = sim_chance(500);

    simops_ask_take(users->ops,
                    json_pack("{s:s, s:s, s:i, s:I, s:I}", "op", "OP_QUOTA_SET", "role", "www",
                              "cpu", large ? 1000 : (int)sim_between(2, 20), "ram_bytes",
                              (json_int_t)(large ? 1000 : sim_between(1, 10)) * 1024 * MIB,
                              "disk_bytes",
                              (json_int_t)(large ? 1000 : sim_between(1, 10)) * 1024 * MIB));
}

bool simusers_end_crons(const struct simusers *users, struct simtree *tree)
{
    bool over = true;

    for (int i = 0; i < 2; i++) {
        CLEANUP(mem_freep) char *path = str_printf("/davit/cron/www:prod:c%d", i);
        CLEANUP(mem_freep) char *key = str_printf("sim/www/prod/c%d", i);

        if (simtree_find(tree, path) != NULL) {
            over = false;
            if (!simops_is_asked(users->ops, "OP_CRON_REMOVE")) {
                simops_ask_take(users->ops,
                                json_pack("{s:s, s:s}", "op", "OP_CRON_REMOVE", "key", key));
            }
        }
    }
    return over;
}

void simusers_ask(const struct simusers *users)
{
    CLEANUP(mem_freep) char *key = a_job(users);

    if (sim_chance(users->moving)) {
        ask_node(users);
    } else if (sim_chance(users->timing)) {
        ask_cron(users);
    } else if (sim_chance(users->handling) && simmodel_wants(users->model, key)) {
        (sim_chance(500) ? ask_restart : ask_add)(users, key);
    } else if (sim_chance(users->updating) &&
               (simmodel_wants(users->model, key) || sim_chance(100))) {
        ask_about_update(users, key);
    } else if (!simmodel_wants(users->model, key) || sim_chance(50)) {
        ask_create(users, key);
    } else if (sim_chance(400)) {
        ask_kill(users, key);
    }
}

void simusers_tend(const struct simusers *users, bool give_up)
{
    for (size_t i = 0; i < users->n_jobs; i++) {
        CLEANUP(mem_freep) char *key = str_printf("sim/www/prod/j%zu", i);
        const char *status = simmodel_update_status(users->model, key);

        if (status == NULL || simops_is_pending(users->ops, key)) {
            continue;
        }
        if (give_up) {
            ask_command(users, key, "OP_JOB_UPDATE_ABORT");
        } else if (strstr(status, "PAUSED") != NULL) {
            ask_command(users, key, "OP_JOB_UPDATE_RESUME");
        } else {
            simops_pulse(users->ops, simmodel_update(users->model, key));
        }
    }
}
