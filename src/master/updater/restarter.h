/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rolling restart of a job's instances, as a pure core: which instance is restarted when, and
 * whether it came back.  contracts/aurora.md 1.5 ("Restart"). */
struct restarter;

struct restarter_settings {
    unsigned batch_size;                /* From 1. */
    unsigned max_per_instance_failures; /* More of them, and the instance is given up. */
    unsigned max_total_failures;        /* More instances given up, and the restart is. */
    uint64_t watch_ms;                  /* RUNNING for so long is well; 0: RUNNING is enough. */
    uint64_t start_ms;                  /* Not RUNNING after so long is a failure; 0: 15 min. */
};

enum restarter_phase {
    RESTARTER_NONE,    /* The instance has no active run. */
    RESTARTER_OVER,    /* The same, and its last run ended well: a job that is no service. */
    RESTARTER_COMING,  /* Active, but not RUNNING. */
    RESTARTER_RUNNING, /* RUNNING */
};

/* An instance as it is now. */
struct restarter_view {
    enum restarter_phase phase;
    const char *run;    /* Id of its active run; NULL when there is none. */
    const char *after;  /* Id of the run before that one; NULL when not known. */
    const char *state;  /* How a person would name its state: "PENDING: Insufficient: CPU". */
    const char *ended;  /* How the run before ended ("FAILED: exit 3"); NULL when not known. */
    bool can_restart;   /* Ending this run makes another one start. */
    bool was_restarted; /* This run was started by this very restart, before it was resumed. */
};

/* What the core asks and tells, from inside restarter_step() only. */
struct restarter_port {
    void *data;
    void (*look)(void *data, int instance, struct restarter_view *ret_view);
    void (*restart)(void *data, int instance); /* End its run, so that the next one starts. */
    void (*failed)(void *data, int instance, const char *why, bool given_up); /* For the log. */
};

/* instances are sorted and each there once; copied. */
struct restarter *restarter_new(const struct restarter_settings *settings, const int *instances,
                                size_t n_instances);
void restarter_free(struct restarter *restarter);

enum restarter_verdict {
    RESTARTER_GOES_ON,
    RESTARTER_SUCCEEDED,
    RESTARTER_GAVE_UP, /* Too many instances failed; the rest is left as it is. */
};

/* Looks at what is under way and does what comes next; may be called at any time, again and again.
 * *ret_wake_ms: look again then at the latest, even if nothing happened (0: nothing to wait for).
 * now_ms is a monotonic clock's. */
enum restarter_verdict restarter_step(struct restarter *restarter, uint64_t now_ms,
                                      const struct restarter_port *port, uint64_t *ret_wake_ms);

struct restarter_counts {
    size_t all, well, given_up, under_way;
};
struct restarter_counts restarter_count(const struct restarter *restarter);
