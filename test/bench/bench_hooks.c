/* SPDX-License-Identifier: Apache-2.0 */

/* bench_hooks DIR ROUNDS MODE: run all scripts of DIR/x.d ROUNDS times one after the other;
 * print microseconds a script.  MODE: chain (engine, records in a journal), quiet (engine
 * without a journal), child (base/child alone), spawn (bare posix_spawn and waitpid).
 * tools/bench/hooks.py puts it beside run-parts. */
#include "base/file.h"
#include "base/mem.h"
#include "hook/chain.h"
#include "hook/journal.h"

#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static char *const env[] = { "PATH=/usr/bin:/bin", NULL };

struct bench {
    uv_loop_t loop;
    struct hook_engine *engine;
    const struct hook_sink *sink;
    struct hook_chain chain;
    struct hook_chain_spec spec;
    struct child child;
    struct hook_dir dir;
    size_t at;
    long rounds;
    double before_us;
    int bad;
};

static double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void on_chain(struct hook_chain *chain)
{
    struct bench *bench = chain->data;

    bench->bad += chain->err.code != 0 || chain->culprit != NULL;
    chain_fini(chain);
    if (bench->before_us == 0) {
        bench->before_us = now_us(); /* The first round opens files and makes groups. */
        bench->rounds++;
    }
    if (--bench->rounds > 0) {
        chain_start(chain, bench->engine, &bench->spec, bench->sink, on_chain);
        return;
    }
    run_engine_close(bench->engine, NULL, NULL);
}

static void start_child(struct bench *bench);

static void on_child(struct child *child)
{
    struct bench *bench = child->data;

    bench->bad += child->exit_code != 0;
    if (++bench->at == bench->dir.n) {
        bench->at = 0;
        bench->rounds--;
    }
    if (bench->rounds > 0) {
        start_child(bench);
    }
}

static void start_child(struct bench *bench)
{
    const char *argv[] = { bench->dir.entries[bench->at].path, NULL };
    const struct child_options options = { .argv = argv, .envp = (const char *const *)env };
    struct err err;

    if (child_start(&bench->child, &bench->loop, &options, on_child, &err) < 0) {
        bench->bad++;
    }
}

static void spawn_all(struct bench *bench)
{
    for (; bench->rounds > 0; bench->rounds--) {
        for (size_t i = 0; i < bench->dir.n; i++) {
            char *argv[] = { bench->dir.entries[i].path, NULL };
            pid_t pid;
            int status = 0;
            if (posix_spawn(&pid, argv[0], NULL, NULL, argv, env) != 0 ||
                waitpid(pid, &status, 0) != pid || status != 0) {
                bench->bad++;
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct bench bench = { 0 };
    struct hook_record context;
    CLEANUP(journal_closep) struct hook_journal *journal = NULL;
    struct err err = { 0 };

    if (argc != 4 || dir_read(HOOK_RULES_GANETI, argv[1], "x", &bench.dir, &err) < 0) {
        (void)fprintf(stderr, "usage: bench_hooks DIR ROUNDS chain|quiet|child|spawn %s\n",
                      err.msg);
        return 2;
    }
    CLEANUP(mem_freep) char *path = file_join(argv[1], "hooks.db");
    bench.rounds = strtol(argv[2], NULL, 10);
    double runs = (double)bench.rounds * (double)bench.dir.n;
    record_init(&context, false);
    (void)uv_loop_init(&bench.loop);
    bench.spec = (struct hook_chain_spec){ .base = argv[1],
                                           .event = "x",
                                           .policy = HOOK_POLICY_JUDGE,
                                           .context = &context,
                                           .token_base = "bench",
                                           .env = (const char *const *)env,
                                           .cwd = "/",
                                           .term_ms = 900000,
                                           .kill_ms = 930000 };
    bench.chain.data = bench.child.data = &bench;
    if (strcmp(argv[3], "chain") == 0) {
        if (journal_open(path, &journal, &err) < 0) {
            (void)fprintf(stderr, "bench_hooks: %s\n", err.msg);
            return 1;
        }
        bench.sink = journal_sink(journal);
    }
    if (strcmp(argv[3], "spawn") == 0) {
        bench.before_us = now_us();
        spawn_all(&bench);
    } else if (strcmp(argv[3], "child") == 0) {
        bench.before_us = now_us();
        start_child(&bench);
    } else {
        bench.engine = run_engine_new(&bench.loop, TREE_AUTO);
        chain_start(&bench.chain, bench.engine, &bench.spec, bench.sink, on_chain);
    }
    (void)uv_run(&bench.loop, UV_RUN_DEFAULT);
    printf("%.1f\n", (now_us() - bench.before_us) / runs);
    (void)uv_loop_close(&bench.loop);
    record_fini(&context);
    dir_fini(&bench.dir);
    return bench.bad != 0;
}
