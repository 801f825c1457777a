/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Virtual time, luck and the trace of one history.
 *
 * Linked into the simulator it takes the place of libuv's timers and idle handles, of base/clock.h,
 * base/id.h and base/log.h: the master's code runs as it is, on events that come in one seeded
 * order. */

/* A program that lives in the simulation: while frozen none of its events happens. */
struct sim_proc {
    const char *name;
    bool frozen;
    struct sim_event *deferred;
};

struct sim_event;
typedef void (*sim_fn)(void *arg);

void sim_begin(uint64_t seed);
void sim_end(void);

/* In some histories each master has a clock of its own: clock_wall_ms() jumps when another one may
 * come to lead. */
bool sim_clocks_differ(void);
void sim_change_clock(void);

uint64_t sim_now(void); /* Milliseconds since the history began. */

/* proc NULL: the world itself.  what names the event in the trace. */
struct sim_event *sim_after(uint64_t delay_ms, struct sim_proc *proc, sim_fn fn, void *arg,
                            const char *what);
/* At this time, behind all that is due then already. */
struct sim_event *sim_at(uint64_t at_ms, struct sim_proc *proc, sim_fn fn, void *arg,
                         const char *what);
/* Sets it to NULL; fine on NULL.  An event is gone when its fn runs. */
void sim_cancel(struct sim_event **event);

/* Lets the next event happen.  False when there is none. */
bool sim_step(void);
uint64_t sim_steps(void);

void sim_freeze(struct sim_proc *proc);
void sim_thaw(struct sim_proc *proc);
/* Runs the close callbacks that this program's handles wait for, at once. */
void sim_finish_closing(struct sim_proc *proc);

/* ---- Luck ---- */
uint64_t sim_rand(void);
uint64_t sim_between(uint64_t low, uint64_t high); /* Both included. */
bool sim_chance(unsigned per_mille);

/* ---- The trace ---- */

/* Everything that happened, as one number: equal seeds give equal digests. */
uint64_t sim_digest(void);
void sim_mix(const void *bytes, uint64_t len);

/* Keeps the last lines for a failure's report; off (and cheap) unless asked for. */
void sim_trace_on(unsigned lines, bool echo);
bool sim_tracing(void);
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_trace_dump(void);

/* The history has shown a fault.  Set once by simmain. */
extern void (*sim_failed)(const char *message);
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define SIM_CHECK(ok, ...) ((ok) ? (void)0 : sim_fail(__VA_ARGS__))
