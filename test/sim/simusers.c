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

static void ask_create(const struct simusers *users, const char *key)
{
    json_t *config = a_config(users, key, sim_chance(800), false);

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

void simusers_ask(const struct simusers *users)
{
    CLEANUP(mem_freep) char *key = a_job(users);

    if (sim_chance(users->updating) && (simmodel_wants(users->model, key) || sim_chance(100))) {
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
