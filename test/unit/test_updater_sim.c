/* SPDX-License-Identifier: Apache-2.0 */

/* Random updates of random jobs whose tasks have random luck, with commands, pulses and
 * crashes of the master, beside a naive model of what they must come to.
 *
 * The world runs the tasks as steer.c would.  Whether the runs of an instance fail, and how
 * often, is drawn before: so the model knows how an update must end without knowing when.
 * A crash makes the update anew from its document; what the last step ordered may be lost with
 * it, and what ended may end once more.
 * DAVIT_SIM_SEED and DAVIT_SIM_TASKS choose; a failure prints its seed.
 */
#include "base/json.h"
#include "master/updater/updater.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 14, NONE = UPDATE_NO_CONFIG, MAX_EVENTS = 20000, NEVER = 0 };

static uint64_t rng;

static unsigned roll(unsigned sides)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % sides;
}

static const char *const hashes[] = { "new0", "old1", "old2" };

struct run {
    bool there, doomed;
    int config;
    enum task_status status;
    uint64_t since, due; /* due: of its next change, NEVER for none. */
    char id[16];
};

struct world {
    uint64_t now;
    struct run run[N];
    int fated[N];     /* The configuration whose luck was drawn, NONE before it was ordered. */
    int fails[3][N];  /* Runs of each configuration that will still fail. */
    bool restored[N]; /* A rollback ordered its old configuration. */
    unsigned runs;
};

struct sim {
    struct world w;
    struct update *update;
    /* What was drawn. */
    int from[N], to[N], order[N], group[N], luck[3][N];
    int n;
    int target;
    uint64_t wake;
    /* What happened. */
    bool aborted, asked_back;
    bool ordered; /* By the last step: that is a change, too. */
    uint64_t pulsed, command_due, pulse_due, resume_due;
    unsigned resumes, resumes_at_group;
    int max_group;
};

/* An update numbers its configurations as it likes. */
static int index_of(const struct sim *s, int config)
{
    return config == NONE ? NONE : update_find_config(s->update, hashes[config]);
}

static int config_of(const struct sim *s, int index)
{
    for (int config = 0; config < 3; config++) {
        if (index != NONE && strcmp(s->update->configs[index], hashes[config]) == 0) {
            return config;
        }
    }
    return NONE;
}

/* ---- Tasks ---- */

static void stage(struct sim *s, struct run *run, enum task_status status)
{
    uint64_t watch = s->update->settings.watch_ms;
    bool fails_now = run->doomed && (watch == 0 || roll(2)) && status == TASK_STARTING;

    run->status = status;
    run->since = s->w.now;
    run->due = s->w.now + 1 + roll(3000);
    if (fails_now) {
        run->doomed = true;
    } else if (status == TASK_RUNNING) {
        run->due = run->doomed ? s->w.now + 1 + roll((unsigned)watch) : NEVER;
        if (run->doomed && run->due >= s->w.now + watch) {
            run->due = s->w.now + watch - 1;
        }
    }
}

static void new_run(struct sim *s, int i, int config)
{
    struct run *run = &s->w.run[i];

    *run = (struct run){ .there = true, .config = config };
    (void)snprintf(run->id, sizeof(run->id), "run-%010u", ++s->w.runs);
    run->doomed = s->w.fated[i] == config && s->w.fails[config][i] > 0;
    stage(s, run, TASK_PENDING);
}

static bool was_asked(enum task_status status)
{
    return status == TASK_KILLING || status == TASK_RESTARTING || status == TASK_DRAINING;
}

/* A run ends; the next one follows as steer.c has it. */
static void end_run(struct sim *s, int i)
{
    struct run *run = &s->w.run[i];
    enum task_status was = run->status;
    int config = run->config;
    int next;

    if (run->doomed && !was_asked(was)) {
        s->w.fails[config][i]--;
    }
    updater_ended(s->update, i, index_of(s, config), run->id, was_asked(was), "exited unexpectedly",
                  s->w.now);
    next = config_of(s, updater_next_config(s->update, i, index_of(s, config)));
    next = next == NONE ? config : next;
    run->there = false;
    if (was == TASK_KILLING) {
        return;
    }
    if (next != config) {
        s->w.fated[i] = next;
        s->w.restored[i] = s->w.restored[i] || (s->update->back && next == s->from[i]);
    }
    new_run(s, i, next);
}

static void advance(struct sim *s, int i)
{
    struct run *run = &s->w.run[i];

    switch (run->status) {
    case TASK_PENDING:
        stage(s, run, TASK_ASSIGNED);
        break;
    case TASK_ASSIGNED:
        stage(s, run, TASK_STARTING);
        break;
    case TASK_STARTING:
        if (run->doomed && (s->update->settings.watch_ms == 0 || roll(2))) {
            end_run(s, i);
        } else {
            stage(s, run, TASK_RUNNING);
        }
        break;
    default:
        end_run(s, i);
        break;
    }
}

/* ---- What the rules see and order ---- */

static void look(void *data, int instance, struct updater_seen *ret_seen)
{
    const struct sim *s = data;
    const struct run *run = &s->w.run[instance];

    *ret_seen =
        (struct updater_seen){ run->there, index_of(s, run->config), run->status, run->since };
}

static bool may_end(void *data, int instance)
{
    const struct sim *s = data;

    assert_true(s->update->settings.sla_aware);
    assert_int_equal(s->w.run[instance].status, TASK_RUNNING);
    return roll(3) > 0;
}

static void order(void *data, const struct updater_order *what)
{
    struct sim *s = data;
    int i = what->instance;
    int config = config_of(s, what->config);
    struct run *run = &s->w.run[i];
    bool placed = run->there && run->status != TASK_PENDING;

    /* Nothing is done to tasks while it is paused, blocked or over. */
    assert_true(s->update->status == UPDATE_ROLLING_FORWARD ||
                s->update->status == UPDATE_ROLLING_BACK);
    if (s->update->settings.pulse_ms > 0) {
        assert_true(s->pulsed != 0 && s->w.now < s->pulsed + s->update->settings.pulse_ms);
    }
    assert_int_equal(config, s->update->back ? s->from[i] : s->to[i]);
    assert_true((config == NONE) == (what->kind == UPDATER_REMOVE));
    if (what->kind == UPDATER_ADD) {
        assert_false(run->there);
    } else {
        assert_true(run->there && run->status != TASK_KILLING);
    }
    s->ordered = true;
    s->w.fated[i] = config;
    if (s->update->back && config != NONE) {
        s->w.restored[i] = true;
    }
    if (placed) {
        run->status = what->kind == UPDATER_REMOVE ? TASK_KILLING : TASK_RESTARTING;
        run->since = s->w.now;
        run->due = s->w.now + 1 + roll(5000);
    } else {
        run->there = false;
        if (what->kind != UPDATER_REMOVE) {
            new_run(s, i, config);
        }
    }
}

/* ---- Invariants ---- */

static enum update_phase phase_of(const struct sim *s, int i)
{
    return update_find_instance(s->update, i)->phase;
}

/* What was closed by this step must be as wanted. */
static void check_closed(const struct sim *s, const enum update_phase *before, bool back_before)
{
    for (int p = 0; p < s->n; p++) {
        int i = s->order[p];
        const struct run *run = &s->w.run[i];
        int wanted = back_before ? s->from[i] : s->to[i];

        if (s->update->back != back_before || phase_of(s, i) != UPDATE_DONE ||
            before[i] == UPDATE_DONE) {
            continue;
        }
        if (wanted == NONE) {
            assert_false(run->there);
        } else {
            assert_true(run->there && run->config == wanted && run->status == TASK_RUNNING);
            assert_true(s->w.now >= run->since + s->update->settings.watch_ms);
        }
    }
}

/* How many at a time, in which order, in which batches. */
static void check_discipline(struct sim *s)
{
    const struct update_settings *settings = &s->update->settings;
    bool back = s->update->back;
    bool waiting = false;
    int working = 0;
    int group = -1;

    for (int k = 0; k < s->n; k++) {
        int p = back ? s->n - 1 - k : k;
        enum update_phase phase = phase_of(s, s->order[p]);

        if (phase == UPDATE_WAITING) {
            waiting = true;
        } else {
            assert_false(waiting); /* The order is kept. */
        }
        if (phase == UPDATE_WORKING) {
            working++;
            if (settings->strategy != UPDATE_QUEUE) {
                assert_true(group == -1 || group == s->group[p]);
                group = s->group[p];
            }
        } else if (phase == UPDATE_WAITING && settings->strategy != UPDATE_QUEUE && group != -1) {
            assert_int_not_equal(s->group[p], group); /* A batch begins as a whole. */
        }
    }
    if (settings->strategy == UPDATE_QUEUE) {
        assert_true(working <= settings->sizes[0]);
    } else if (!back && group > s->max_group) {
        assert_true(group == s->max_group + 1);
        assert_true(!settings->autopause || group == 0 || s->resumes > s->resumes_at_group);
        s->max_group = group;
        s->resumes_at_group = s->resumes;
    }
}

/* ---- Crashes ---- */

/* The update as the next master reads it. */
static void reload(struct sim *s)
{
    json_t *doc = update_encode(s->update);
    char *text = json_text(doc);
    json_t *read = NULL;
    struct err err = { 0 };

    assert_true(strlen(text) < 256 * 1024);
    assert_int_equal(json_parse(text, strlen(text), 256 * 1024, &read, &err), 0);
    update_free(s->update);
    s->update = NULL;
    assert_int_equal(update_decode(read, &s->update, &err), 0);
    json_decref(doc);
    doc = update_encode(s->update);
    char *again = json_text(doc);
    assert_string_equal(text, again);
    json_decref(doc);
    json_decref(read);
    free(text);
    free(again);
}

static void step(struct sim *s)
{
    struct updater_world world = { look, may_end, order, s };
    enum update_phase before[N];
    struct world lost = s->w;
    bool back = s->update->back;

    for (int p = 0; p < s->n; p++) {
        before[s->order[p]] = phase_of(s, s->order[p]);
    }
    updater_step(s->update, &world, s->w.now, &s->wake);
    check_closed(s, before, back);
    check_discipline(s);
    if (roll(12) == 0) {
        if (roll(2)) {
            lost.runs = s->w.runs; /* Names are not given twice. */
            s->w = lost;
        }
        reload(s);
        s->wake = s->w.now; /* A new master looks at once. */
        if (update_status_is_active(s->update->status)) {
            step(s);
        }
    }
}

/* ---- Drawing one ---- */

static void draw_settings(struct update_settings *settings)
{
    settings->strategy = (enum update_strategy)roll(UPDATE_N_STRATEGIES);
    settings->n_sizes = settings->strategy == UPDATE_VARIABLE ? 1 + roll(3) : 1;
    settings->sizes = calloc(settings->n_sizes, sizeof(int));
    for (size_t i = 0; i < settings->n_sizes; i++) {
        settings->sizes[i] = 1 + (int)roll(5);
    }
    settings->autopause = settings->strategy != UPDATE_QUEUE && roll(3) == 0;
    settings->watch_ms = roll(3) == 0 ? 0 : 1000 * (1 + roll(20));
    settings->per_instance = (int)roll(3);
    settings->total = (int)roll(4);
    settings->rollback = roll(4) > 0;
    settings->pulse_ms = roll(4) == 0 ? 60000 : 0;
    settings->sla_aware = roll(4) == 0;
}

static void add_kind(struct sim *s, bool had, bool has)
{
    for (int i = 0; i < N; i++) {
        if ((s->from[i] != NONE) == had && (s->to[i] != NONE) == has && s->from[i] != s->to[i] &&
            (had || has)) {
            update_add_instance(s->update, i, s->from[i], s->to[i]);
            s->order[s->n++] = i;
        }
    }
}

/* Batches, spelled out: how many of the order each takes. */
static void draw_groups(struct sim *s)
{
    const struct update_settings *settings = &s->update->settings;
    int p = 0;

    for (int g = 0; p < s->n; g++) {
        int size = settings->sizes[g < (int)settings->n_sizes ? g : (int)settings->n_sizes - 1];

        for (int k = 0; k < size && p < s->n; k++) {
            s->group[p++] = g;
        }
    }
}

static void draw_luck(struct sim *s)
{
    int per = s->update->settings.per_instance;

    for (int i = 0; i < N; i++) {
        for (int config = 0; config < 3; config++) {
            bool bad = roll(config == s->target ? 8 : 14) == 0;

            s->luck[config][i] = bad            ? per + 1 + (int)roll(2)
                                 : roll(4) == 0 ? (int)roll((unsigned)per + 1)
                                                : 0;
            s->w.fails[config][i] = s->luck[config][i];
        }
    }
}

static void draw(struct sim *s, unsigned seed)
{
    int wanted = 1 + (int)roll(N - 1);
    int now = (int)roll(N);

    *s = (struct sim){ .max_group = -1 };
    s->w.now = 1000000 + seed;
    s->update = update_new("00000000-0000-4000-8000-000000000000", "c/r/e/n", s->w.now);
    draw_settings(&s->update->settings);
    s->target = 0;
    for (int config = 0; config < 3; config++) {
        (void)update_add_config(s->update, hashes[config]);
    }
    for (int i = 0; i < N; i++) {
        bool in_scope = roll(10) > 0;

        s->w.fated[i] = NONE;
        s->from[i] = i < now && roll(12) > 0 ? (roll(8) == 0 ? 0 : 1 + (int)roll(2)) : NONE;
        s->to[i] = !in_scope ? s->from[i] : i < wanted ? s->target : NONE;
    }
    add_kind(s, false, true);
    add_kind(s, true, true);
    add_kind(s, true, false);
    update_seal(s->update);
    draw_groups(s);
    draw_luck(s);
    for (int i = 0; i < N; i++) {
        if (s->from[i] != NONE) {
            new_run(s, i, s->from[i]);
            stage(s, &s->w.run[i], TASK_RUNNING);
        }
    }
    updater_begin(s->update, s->w.now);
    s->command_due = roll(2) ? s->w.now + 1 + roll(60000) : NEVER;
    s->pulse_due = s->update->settings.pulse_ms > 0 ? s->w.now + 1 + roll(30000) : NEVER;
}

/* ---- Running it ---- */

static void give_command(struct sim *s)
{
    static const enum updater_command commands[] = { UPDATER_PAUSE, UPDATER_PAUSE, UPDATER_PAUSE,
                                                     UPDATER_ABORT, UPDATER_ROLLBACK };
    enum updater_command command = commands[roll(5)];
    struct err err = { 0 };

    if (updater_command(s->update, command, s->w.now, "asked", "someone", &err) == 0) {
        s->aborted = s->aborted || command == UPDATER_ABORT;
        s->asked_back = s->asked_back || command == UPDATER_ROLLBACK;
    } else {
        assert_int_equal(err.code, ERR_CONFLICT);
    }
    s->command_due = roll(3) ? s->w.now + 1 + roll(60000) : NEVER;
}

static bool is_paused(const struct sim *s)
{
    return s->update->status == UPDATE_ROLL_FORWARD_PAUSED ||
           s->update->status == UPDATE_ROLL_BACK_PAUSED;
}

static void earliest(uint64_t *at, uint64_t due)
{
    if (due != NEVER && (*at == NEVER || due < *at)) {
        *at = due;
    }
}

/* A task ends that nobody asked to, and whose end is no failure of the update: not one that it
 * is just working on.  Or its node is drained. */
static bool bad_luck(struct sim *s)
{
    int i = (int)roll(N);
    struct run *run = &s->w.run[i];
    const struct update_instance *instance = update_find_instance(s->update, i);
    int wanted = s->update->back ? s->from[i] : s->to[i];

    if (!run->there || run->status != TASK_RUNNING || run->doomed) {
        return false;
    }
    if (roll(3) == 0) {
        run->status = TASK_DRAINING;
        run->since = s->w.now;
        run->due = s->w.now + 1 + roll(3000);
        return true;
    }
    if (instance != NULL && instance->phase == UPDATE_WORKING && run->config == wanted) {
        return false;
    }
    end_run(s, i);
    return true;
}

static bool run_due_tasks(struct sim *s)
{
    bool changed = false;

    for (int i = 0; i < N; i++) {
        struct run *run = &s->w.run[i];

        if (!run->there || run->due == NEVER || run->due > s->w.now) {
            continue;
        }
        if (roll(20) == 0) {
            /* The document is written, the task's end is not: it is told once more. */
            struct world before = s->w;
            uint64_t same_luck = rng;

            advance(s, i);
            s->w = before;
            reload(s);
            rng = same_luck;
        }
        advance(s, i);
        changed = true;
    }
    return changed;
}

static void one_event(struct sim *s)
{
    uint64_t at = NEVER;
    bool changed;

    for (int i = 0; i < N; i++) {
        earliest(&at, s->w.run[i].there ? s->w.run[i].due : NEVER);
    }
    earliest(&at, s->ordered ? s->w.now : s->wake);
    earliest(&at, s->command_due);
    earliest(&at, s->pulse_due);
    earliest(&at, s->resume_due);
    assert_int_not_equal(at, NEVER); /* It hangs. */
    s->w.now = at > s->w.now ? at : s->w.now;
    changed = run_due_tasks(s);
    if (roll(60) == 0) {
        changed = bad_luck(s) || changed;
    }
    if (s->command_due != NEVER && s->command_due <= s->w.now) {
        give_command(s);
        changed = true;
    }
    if (s->pulse_due != NEVER && s->pulse_due <= s->w.now) {
        assert_int_equal(updater_pulse(s->update, s->w.now),
                         update_status_is_active(s->update->status));
        s->pulsed = s->w.now;
        s->pulse_due = s->w.now + 1000 + roll(roll(3) ? 50000 : 150000);
        changed = true;
    }
    if (s->resume_due != NEVER && s->resume_due <= s->w.now) {
        struct err err;

        s->resume_due = NEVER;
        if (updater_command(s->update, UPDATER_RESUME, s->w.now, NULL, NULL, &err) == 0) {
            s->resumes++;
        }
        changed = true;
    }
    if (changed || TAKE(s->ordered) || (s->wake != NEVER && s->wake <= s->w.now)) {
        step(s);
    }
    if (is_paused(s) && s->resume_due == NEVER) {
        s->resume_due = s->w.now + 1 + roll(40000);
    }
}

/* ---- The model ---- */

/* How it must have ended. */
static enum update_status model_status(const struct sim *s)
{
    int per = s->update->settings.per_instance;
    int total = s->update->settings.total;
    int forward = 0;
    int back = 0;

    for (int p = 0; p < s->n; p++) {
        int i = s->order[p];

        forward += s->to[i] != NONE && s->luck[s->target][i] > per;
        back += s->w.restored[i] && s->luck[s->from[i]][i] > per;
    }
    if (s->aborted) {
        return UPDATE_ABORTED;
    }
    if (!s->asked_back && forward <= total) {
        return UPDATE_ROLLED_FORWARD;
    }
    if (!s->asked_back && !s->update->settings.rollback) {
        return UPDATE_FAILED;
    }
    return back > total ? UPDATE_FAILED : UPDATE_ROLLED_BACK;
}

/* An old configuration that fails counts only while the update looks: no more than it may. */
static void check_end(const struct sim *s)
{
    assert_string_equal(update_status_name(s->update->status), update_status_name(model_status(s)));
    for (int i = 0; i < N; i++) {
        const struct run *run = &s->w.run[i];
        bool is_from = run->there ? run->config == s->from[i] : s->from[i] == NONE;
        bool is_to = run->there ? run->config == s->to[i] : s->to[i] == NONE;

        if (s->update->status == UPDATE_ROLLED_FORWARD) {
            assert_true(is_to);
        } else if (s->update->status == UPDATE_ROLLED_BACK) {
            assert_true(is_from);
        } else if (s->from[i] != NONE && s->to[i] != NONE) {
            assert_true(run->there && (is_from || is_to)); /* Mixed, and nothing is lost. */
        }
    }
}

static uint64_t number_from(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);

    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

static uint64_t seed; /* 0: all went well. */

static int tell_seed(void **state)
{
    (void)state;
    if (seed > 0) {
        (void)fprintf(stderr, "DAVIT_SIM_SEED=%llu\n", (unsigned long long)seed);
    }
    return 0;
}

static void every_update_ends_as_the_model_says(void **state)
{
    uint64_t first = number_from("DAVIT_SIM_SEED", 1);
    uint64_t updates = number_from("DAVIT_SIM_TASKS", 3000);
    unsigned ends[UPDATE_N_STATUS] = { 0 };

    (void)state;
    for (seed = first; seed < first + updates; seed++) {
        struct sim s;
        int events = 0;

        rng = seed * 0x9E3779B97F4A7C15ULL + 1;
        for (int i = 0; i < 8; i++) {
            (void)roll(2);
        }
        draw(&s, (unsigned)seed);
        step(&s);
        while (update_status_is_active(s.update->status)) {
            one_event(&s);
            assert_true(++events < MAX_EVENTS);
        }
        check_end(&s);
        ends[s.update->status]++;
        update_free(s.update);
    }
    seed = 0;
    for (unsigned i = 0; i < UPDATE_N_STATUS; i++) {
        if (ends[i] > 0) {
            (void)printf("# %-16s %u\n", update_status_name((enum update_status)i), ends[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_update_ends_as_the_model_says, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
