/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of health checking: their corners one by one, then random lives beside a second,
 * naive implementation that keeps every outcome and counts again each time.
 * DAVIT_SIM_SEED and DAVIT_SIM_TASKS choose; a failure prints its seed.
 */
#include "pod/health/health.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A life in letters: what each attempt gave (s, f), and the state after it (. h X). */
struct life {
    const char *name;
    uint64_t initial_ms, interval_ms;
    unsigned failures, successes;
    const char *outcomes;
    const char *states;
};

static const char late[] = "Failed health check! Not enough successful health checks in time.";

static char letter(const struct health *health)
{
    return health->state == HEALTH_STARTING ? '.' : health->state == HEALTH_HEALTHY ? 'h' : 'X';
}

static void lives_by_the_rules(void **state)
{
    (void)state;
    static const struct life lives[] = {
        { "healthy at once", 15000, 10000, 0, 1, "s", "h" },
        { "two are forgiven, the third is needed", 15000, 10000, 0, 1, "fff", "..X" },
        { "the last one saves it", 15000, 10000, 0, 1, "ffs", "..h" },
        { "15 s of 10 s make two, 20 s as well", 20000, 10000, 0, 1, "fff", "..X" },
        { "a little more makes three", 20001, 10000, 0, 1, "ffff", "...X" },
        { "nothing forgiven", 0, 10000, 0, 1, "f", "X" },
        { "but failures allowed", 0, 10000, 2, 1, "fff", "..X" },
        { "allowed ones save it", 0, 10000, 2, 1, "ffs", "..h" },
        { "three in a row", 0, 1000, 0, 3, "sss", "..h" },
        { "a failure between: out of reach at once", 0, 1000, 0, 3, "sf", ".X" },
        { "a failure between, with room for it", 0, 1000, 2, 3, "sfsss", "....h" },
        { "with too little room for it", 0, 1000, 1, 3, "ssf", "..X" },
        { "forgiven failures end a row too", 2000, 1000, 0, 2, "sfss", "...h" },
        { "one failure is too many", 0, 1000, 0, 1, "sf", "hX" },
        { "two are allowed, the third is not", 0, 1000, 2, 1, "sffsfff", "hhhhhhX" },
        { "forgiveness ends with the first health", 60000, 1000, 0, 1, "sf", "hX" },
        { "no successes wanted is one", 0, 1000, 0, 0, "s", "h" },
        { "no successes wanted is one, failing", 0, 1000, 0, 0, "f", "X" },
        { "no interval is the shortest", 200, 0, 0, 1, "fff", "..X" },
    };

    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        const struct life *life = &lives[i];
        const struct health_config config = { life->initial_ms, life->interval_ms, life->failures,
                                              life->successes };
        struct health health;

        health_init(&health, &config, 1000);
        for (size_t at = 0; life->outcomes[at]; at++) {
            health_attempted(&health, 1000 + at, life->outcomes[at] == 's' ? NULL : "why",
                             1000 + at);
            if (letter(&health) != life->states[at]) {
                fail_msg("%s: after attempt %zu it is %c", life->name, at + 1, letter(&health));
            }
        }
    }
}

static void reasons_are_the_contracts(void **state)
{
    (void)state;
    const struct health_config config = { 0, 1000, 0, 1 };
    struct health health;

    health_init(&health, &config, 0);
    assert_string_equal(health.reason, "");
    health_attempted(&health, 0, NULL, 0);
    assert_string_equal(health.reason, "Task is healthy.");
    health_attempted(&health, 0, "Health check timed out.", 0);
    assert_string_equal(health.reason, "Failed health check! Health check timed out.");
    health_attempted(&health, 0, NULL, 0);
    assert_int_equal(health.state, HEALTH_FAILED);
    assert_true(health.next_ms == HEALTH_NEVER);

    health_init(&health, &config, 0);
    health_attempted(&health, 0, "another", 0);
    assert_string_equal(health.reason, late);
}

static void a_long_reason_is_cut_and_says_so(void **state)
{
    (void)state;
    const struct health_config config = { 0, 1000, 0, 1 };
    struct health health;
    char why[2 * HEALTH_REASON_MAX];

    (void)memset(why, 'y', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    health_init(&health, &config, 0);
    health_attempted(&health, 0, NULL, 0);
    health_attempted(&health, 0, why, 0);
    assert_int_equal(strlen(health.reason), HEALTH_REASON_MAX - 1);
    assert_string_equal(health.reason + HEALTH_REASON_MAX - 6, "yy...");
}

static void attempts_begin_an_interval_apart(void **state)
{
    (void)state;
    const struct health_config config = { 0, 1000, 9, 1 };
    struct health health;

    health_init(&health, &config, 5000);
    assert_int_equal(health.next_ms, 5000);
    health_attempted(&health, 5000, NULL, 5300);
    assert_int_equal(health.next_ms, 6000);
    health_attempted(&health, 6000, "slow", 8500); /* Longer than the interval: at once. */
    assert_int_equal(health.next_ms, 8500);
}

/* --- Beside a second implementation. --- */

enum { ATTEMPTS_MAX = 60 };

static uint64_t rng;
static uint64_t seed; /* 0: all went well */

static unsigned roll(unsigned sides)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % sides;
}

static unsigned row_at_end(const bool *good, unsigned from, unsigned n, bool which)
{
    unsigned row = 0;

    while (row < n - from && good[n - 1 - row] == which) {
        row++;
    }
    return row;
}

/* The state after n attempts, from nothing but their outcomes. */
static enum health_state naive(const struct health_config *config, const bool *good, unsigned n)
{
    double interval = config->interval_ms < 100 ? 100 : (double)config->interval_ms;
    unsigned wanted = config->min_consecutive_successes ? config->min_consecutive_successes : 1;
    unsigned forgiven = 0;

    while (forgiven * interval < (double)config->initial_interval_ms) {
        forgiven++;
    }
    unsigned limit = forgiven + config->max_consecutive_failures + wanted;

    for (unsigned k = 1; k <= n; k++) { /* Was it healthy after the k-th? */
        unsigned row = row_at_end(good, 0, k, true);

        if (row >= wanted) {
            for (unsigned later = k + 1; later <= n; later++) {
                if (row_at_end(good, k, later, false) > config->max_consecutive_failures) {
                    return HEALTH_FAILED;
                }
            }
            return HEALTH_HEALTHY;
        }
        if (k + wanted - row > limit) {
            return HEALTH_FAILED; /* Were all others good, it would still be too late. */
        }
    }
    return HEALTH_STARTING;
}

static void live(unsigned *counts)
{
    const struct health_config config = { roll(30) * 100, roll(12) * 100, roll(5), roll(5) };
    unsigned luck = roll(101);
    bool good[ATTEMPTS_MAX];
    uint64_t now = roll(1000);
    struct health health;

    health_init(&health, &config, now);
    for (unsigned n = 0; n < ATTEMPTS_MAX; n++) {
        uint64_t before = health.next_ms;

        assert_true(before >= now);
        uint64_t started = before + roll(50);
        now = started + roll(3000);
        good[n] = roll(100) < luck;
        health_attempted(&health, started, good[n] ? NULL : "bad", now);
        assert_int_equal(health.state, naive(&config, good, n + 1));
        assert_true(health.successes == 0 || health.failures == 0);
        if (health.state == HEALTH_FAILED) {
            assert_true(health.next_ms == HEALTH_NEVER);
            assert_true(strncmp(health.reason, "Failed health check! ", 21) == 0);
            break;
        }
        assert_true(health.next_ms >= now && health.next_ms >= started + health.interval_ms);
        assert_true(health.next_ms == now || health.next_ms == started + health.interval_ms);
    }
    counts[health.state]++;
}

static uint64_t number_from(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);

    return text ? strtoull(text, NULL, 10) : fallback;
}

static int tell_seed(void **state)
{
    (void)state;
    if (seed > 0) {
        (void)fprintf(stderr, "DAVIT_SIM_SEED=%llu\n", (unsigned long long)seed);
    }
    return 0;
}

static void both_agree_on_random_lives(void **state)
{
    (void)state;
    uint64_t first = number_from("DAVIT_SIM_SEED", 1);
    uint64_t lives = number_from("DAVIT_SIM_TASKS", 20000);
    unsigned counts[HEALTH_FAILED + 1] = { 0 };

    for (seed = first; seed < first + lives; seed++) {
        rng = seed * 0x9e3779b97f4a7c15ULL | 1;
        (void)roll(2);
        live(counts);
    }
    seed = 0;
    print_message("%llu lives: %u healthy, %u failed\n", (unsigned long long)lives,
                  counts[HEALTH_HEALTHY], counts[HEALTH_FAILED]);
    if (lives >= 1000) {
        assert_true(counts[HEALTH_HEALTHY] > lives / 50);
        assert_true(counts[HEALTH_FAILED] > lives / 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_by_the_rules),
        cmocka_unit_test(reasons_are_the_contracts),
        cmocka_unit_test(a_long_reason_is_cut_and_says_so),
        cmocka_unit_test(attempts_begin_an_interval_apart),
        cmocka_unit_test_teardown(both_agree_on_random_lives, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
