/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GRAPH_PROCESSES_MAX = 2048, /* their state fits one message */
    GRAPH_NAME_MAX = 200,       /* it becomes a directory's name */
    GRAPH_RUNS_MAX = 100,       /* of one process, whatever its limits say */
    GRAPH_REKILL_MS = 1000,     /* KILL is repeated while something is left */
    GRAPH_GIVE_UP_MS = 30000,   /* then the end is told although something is left */
    GRAPH_EXIT_UNSTARTED = 127,
};
#define GRAPH_NEVER UINT64_MAX

/* Where a process is. */
enum graph_state {
    GRAPH_WAITING, /* for its turn, or for its next run */
    GRAPH_RUNNING,
    GRAPH_FINISHED,
    GRAPH_FAILED,
    GRAPH_KILLED, /* ended because the task ended */
};

enum graph_stage {
    GRAPH_IDLE,
    GRAPH_ACTIVE,
    GRAPH_LEAVING, /* asked to leave by other means than a signal */
    GRAPH_CLEANING,
    GRAPH_FINALIZING,
    GRAPH_ENDING,
    GRAPH_DONE
};

enum graph_result { GRAPH_UNDECIDED, GRAPH_SUCCESS, GRAPH_FAILURE, GRAPH_STOPPED };

/* As the user wrote it; borrowed by graph_add(). */
struct graph_spec {
    const char *name;
    const char *cmdline;
    unsigned max_failures;    /* 0: no limit */
    uint64_t min_duration_ms; /* between the end of a run and the next start */
    uint64_t log_bytes;       /* of one log file; 0: they are not rotated */
    unsigned log_backups;     /* old ones that are kept */
    bool daemon;
    bool ephemeral;
    bool final;
};

struct graph_process {
    struct graph_spec spec; /* with its own copies of the text */
    size_t *before;         /* must have finished first */
    size_t n_before;

    enum graph_state state;
    unsigned runs;     /* started so far */
    unsigned failures; /* runs that ended with another status than 0 */
    uint64_t ready_ms; /* earliest next start */
    bool ended;        /* the next two are of a run that ended */
    int exit_code;     /* -1 when a signal ended it */
    int term_signal;   /* 0 when it exited */
    char *unstarted;   /* why its latest run could not be started; NULL: it was */
};

/* Read its members freely, change them by the functions only. */
struct graph {
    struct graph_process *processes;
    size_t n_processes;
    unsigned max_failures;    /* 0: no limit */
    unsigned max_concurrency; /* 0: no limit */
    uint64_t finalization_wait_ms;

    enum graph_stage stage;
    enum graph_result result;
    char reason[800];     /* for people; complete in GRAPH_DONE */
    uint64_t deadline_ms; /* LEAVING: TERM.  CLEANING, FINALIZING: KILL.  ENDING: give up */
    uint64_t clean_ms;    /* LEAVING: how long CLEANING and FINALIZING may then take */
    uint64_t rekill_ms;   /* ENDING */
    bool leftovers;       /* gave up with processes still there */
};

/* What the shell has to do, in order.  Each may be done twice. */
enum graph_action_type {
    GRAPH_START, /* process, its run-th run (0, 1, ..) */
    GRAPH_TERM,  /* SIGTERM to all that runs in the pod, double-forked ones included */
    GRAPH_KILL,  /* SIGKILL to the same */
};

struct graph_action {
    enum graph_action_type type;
    size_t process;
    unsigned run;
};

/* Filled by the event functions, which append; emptied by the shell. */
struct graph_actions {
    struct graph_action *items;
    size_t n;
    size_t cap;
};
void graph_actions_fini(struct graph_actions *actions);

struct graph *graph_new(unsigned max_failures, unsigned max_concurrency,
                        uint64_t finalization_wait_ms);
void graph_free(struct graph *graph);
DEFINE_FREEP(struct graph, graph_free)

/* ERR_INVALID for a name that is empty, taken, starts with a dot, or has a slash
 * or control character in it. */
int graph_add(struct graph *graph, const struct graph_spec *spec, struct err *err);

/* Each name must have finished before the next one starts.  ERR_INVALID: an unknown
 * name, final and ordinary ones together, after a daemon, or a process that is
 * not ephemeral after one that is. */
int graph_order(struct graph *graph, const char *const *names, size_t n_names, struct err *err);

/* After the last graph_order(): ERR_INVALID names a process on a cycle. */
int graph_check(const struct graph *graph, struct err *err);

/* n_processes when there is none. */
size_t graph_find(const struct graph *graph, const char *name);

/* Events.  now_ms is monotonic. */
void graph_begin(struct graph *graph, uint64_t now_ms, struct graph_actions *actions);

/* A started run has ended. */
void graph_ended(struct graph *graph, size_t process, int exit_code, int term_signal,
                 uint64_t now_ms, struct graph_actions *actions);

/* A run could not be started, for this reason (copied): as if it had exited with status
 * GRAPH_EXIT_UNSTARTED. */
void graph_unstarted(struct graph *graph, size_t process, const char *why, uint64_t now_ms,
                     struct graph_actions *actions);

/* Nothing runs in the pod any more.  Wanted while graph_wants_empty(). */
void graph_emptied(struct graph *graph, uint64_t now_ms, struct graph_actions *actions);

/* The processes are being asked to leave, otherwise than by a signal: no run is started any
 * more, and the end is decided, as FAILED or KILLED for this reason (copied; NULL: the
 * default).  When none of them runs, or leave_ms are over, CLEANING begins, which may take
 * clean_ms (at most finalization_wait).  A later one can only make it sooner. */
void graph_leave(struct graph *graph, bool failed, const char *reason, uint64_t leave_ms,
                 uint64_t clean_ms, uint64_t now_ms, struct graph_actions *actions);

/* End as KILLED within grace_ms; once the end has begun it can only be sooner.  reason
 * is copied; NULL: "Task killed.". */
void graph_stop(struct graph *graph, uint64_t grace_ms, const char *reason, uint64_t now_ms,
                struct graph_actions *actions);

/* End as FAILED, within finalization_wait: for a failed sanity check or a full disk. */
void graph_fail(struct graph *graph, const char *reason, uint64_t now_ms,
                struct graph_actions *actions);

/* Time has passed.  Needed at graph_due(), harmless at any other time. */
void graph_tick(struct graph *graph, uint64_t now_ms, struct graph_actions *actions);

/* When graph_tick() has something to do, or GRAPH_NEVER. */
uint64_t graph_due(const struct graph *graph);

bool graph_wants_empty(const struct graph *graph);

const char *graph_state_name(enum graph_state state);
