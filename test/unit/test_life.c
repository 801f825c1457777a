/* SPDX-License-Identifier: Apache-2.0 */
#include "op/life.h"

#include "base/buf.h"

#include "test.h"

#include <string.h>

/* One letter for each state, so that a whole life is a short text. */
static const char letters[] = {
    [LIFE_IDLE] = '-',
    [LIFE_BEGIN] = 'B',
    [LIFE_GLOBAL_PRE] = 'g',
    [LIFE_GLOBAL_PRE_FAR] = 'G',
    [LIFE_OWN_PRE] = 'o',
    [LIFE_OWN_PRE_FAR] = 'O',
    [LIFE_PRE_DONE] = 'D',
    [LIFE_WORK] = 'W',
    [LIFE_VARS] = 'V',
    [LIFE_OWN_POST] = 'p',
    [LIFE_OWN_POST_FAR] = 'P',
    [LIFE_GLOBAL_POST] = 't',
    [LIFE_GLOBAL_POST_FAR] = 'T',
    [LIFE_FINISH] = 'F',
    [LIFE_OVER] = '.',
};

struct shape {
    bool own, far_pre, far_post;
};

/* What may end each step. */
static const enum life_event outcomes[LIFE_STATES][4] = {
    [LIFE_IDLE] = { LIFE_EV_RUN, LIFE_EV_DISAPPEARED, -1 },
    [LIFE_BEGIN] = { LIFE_EV_OK, LIFE_EV_REJECTED, LIFE_EV_NO_PRE, -1 },
    [LIFE_GLOBAL_PRE] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_GLOBAL_PRE_FAR] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_OWN_PRE] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_OWN_PRE_FAR] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_PRE_DONE] = { LIFE_EV_OK, -1 },
    [LIFE_WORK] = { LIFE_EV_OK, LIFE_EV_FAILED, LIFE_EV_DIED, -1 },
    [LIFE_VARS] = { LIFE_EV_OK, LIFE_EV_NO_POST, -1 },
    [LIFE_OWN_POST] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_OWN_POST_FAR] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_GLOBAL_POST] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_GLOBAL_POST_FAR] = { LIFE_EV_OK, LIFE_EV_REFUSED, -1 },
    [LIFE_FINISH] = { LIFE_EV_OK, -1 },
    [LIFE_OVER] = { -1 },
};

static void step(struct life *life, const struct shape *shape, enum life_event event)
{
    enum life_state before = life_state(life);

    if (before == LIFE_BEGIN || before == LIFE_VARS) {
        life->own = shape->own;
        life->far = before == LIFE_BEGIN ? shape->far_pre : shape->far_post;
    }
    (void)life_on(life, event);
}

/* Walks with OK everywhere except where text says: "<letter><event letter>" pairs. */
static char *walk(struct shape shape, enum life_event start, const char *exceptions,
                  enum life_status *ret_status)
{
    struct life life;
    CLEANUP_BUF trail = { 0 };

    life_init(&life);
    step(&life, &shape, start);
    while (life_state(&life) != LIFE_OVER) {
        char letter = letters[life_state(&life)];
        const char *except = strchr(exceptions, letter);
        enum life_event event = LIFE_EV_OK;

        if (except != NULL) {
            event = except[1] == 'x'   ? LIFE_EV_REFUSED
                    : except[1] == 'f' ? LIFE_EV_FAILED
                    : except[1] == 'd' ? LIFE_EV_DIED
                    : except[1] == 'r' ? LIFE_EV_REJECTED
                    : except[1] == 'n' ? LIFE_EV_NO_PRE
                                       : LIFE_EV_NO_POST;
        }
        buf_add(&trail, &letter, 1);
        step(&life, &shape, event);
    }
    *ret_status = life.status;
    return buf_take(&trail);
}

static void every_course_has_its_order(void **state)
{
    static const struct {
        struct shape shape;
        enum life_event start;
        const char *exceptions, *trail;
        enum life_status status;
    } rows[] = {
        { { true, true, true }, LIFE_EV_RUN, "", "BgGoODWVpPtTF", LIFE_SUCCEEDED },
        { { true, false, false }, LIFE_EV_RUN, "", "BgoDWVptF", LIFE_SUCCEEDED },
        { { true, false, true }, LIFE_EV_RUN, "", "BgoDWVpPtTF", LIFE_SUCCEEDED },
        { { false, false, false }, LIFE_EV_RUN, "", "BgDWVtF", LIFE_SUCCEEDED },
        { { true, false, false }, LIFE_EV_RUN, "BnVe", "BWV", LIFE_SUCCEEDED },
        { { true, true, true }, LIFE_EV_RUN, "Br", "BVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "gx", "BgGDVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "Gx", "BgGDVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "ox", "BgGoODVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "Ox", "BgGoODVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "Wf", "BgGoODWVtTF", LIFE_FAILED },
        { { true, true, true }, LIFE_EV_RUN, "Wd", "BgGoODWVtTF", LIFE_DISAPPEARED },
        { { true, true, true }, LIFE_EV_RUN, "px", "BgGoODWVpPtTF", LIFE_SUCCEEDED },
        { { true, true, true }, LIFE_EV_RUN, "tx", "BgGoODWVpPtTF", LIFE_SUCCEEDED },
        { { true, true, true }, LIFE_EV_DISAPPEARED, "", "VtTF", LIFE_DISAPPEARED },
        { { false, false, false }, LIFE_EV_DISAPPEARED, "", "VtF", LIFE_DISAPPEARED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum life_status status;
        CLEANUP(mem_freep)
        char *trail = walk(rows[i].shape, rows[i].start, rows[i].exceptions, &status);

        assert_string_equal(trail, rows[i].trail);
        assert_int_equal(status, rows[i].status);
    }
}

struct facts {
    bool refused, work, own_post, global_pre, global_post, finish, no_post, no_pre;
    int vars;
};

static int lives;

/* What must hold at the end of every life there is. */
static void check_promises(const struct life *life, const struct facts *facts,
                           const struct shape *shape)
{
    lives++;
    assert_int_equal(facts->vars, 1);
    assert_true(facts->finish || facts->no_post);
    assert_true(facts->global_post || facts->no_post);
    assert_false(facts->refused && facts->work);
    assert_false(facts->own_post && life->status != LIFE_SUCCEEDED);
    assert_false(facts->own_post && !shape->own);
    if (life->status == LIFE_SUCCEEDED) {
        assert_true(facts->work && (facts->global_pre || facts->no_pre));
        assert_true(facts->own_post == (shape->own && !facts->no_post));
    }
}

static void explore(struct life life, struct facts facts, const struct shape *shape)
{
    enum life_state here = life_state(&life);

    if (here == LIFE_OVER) {
        check_promises(&life, &facts, shape);
        return;
    }
    facts.work |= here == LIFE_WORK;
    facts.vars += here == LIFE_VARS;
    facts.own_post |= here == LIFE_OWN_POST;
    facts.global_pre |= here == LIFE_GLOBAL_PRE;
    facts.global_post |= here == LIFE_GLOBAL_POST;
    facts.finish |= here == LIFE_FINISH;
    for (size_t i = 0; (int)outcomes[here][i] != -1; i++) {
        struct life next = life;
        struct facts then = facts;

        then.refused |= outcomes[here][i] == LIFE_EV_REFUSED && here < LIFE_PRE_DONE;
        then.no_pre |= outcomes[here][i] == LIFE_EV_NO_PRE;
        then.no_post |= outcomes[here][i] == LIFE_EV_NO_POST;
        step(&next, shape, outcomes[here][i]);
        explore(next, then, shape);
    }
}

static void no_course_breaks_a_promise(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        struct shape shape = { bits & 1, bits & 2, bits & 4 };
        struct life life;

        life_init(&life);
        explore(life, (struct facts){ 0 }, &shape);
    }
    assert_true(lives > 300);
}

/* A crash during post hooks must not change the status that they were told. */
static void a_recorded_status_wins(void **state)
{
    struct life life;

    (void)state;
    life_init(&life);
    assert_int_equal(life_on(&life, LIFE_EV_DISAPPEARED), LIFE_VARS);
    assert_true(life_status_parse("succeeded", &life.status));
    life.own = true;
    assert_int_equal(life_on(&life, LIFE_EV_OK), LIFE_OWN_POST);
    assert_false(life_status_parse("success", &life.status));
    assert_string_equal(life_status_name(LIFE_DISAPPEARED), "disappeared");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_course_has_its_order),
        cmocka_unit_test(no_course_breaks_a_promise),
        cmocka_unit_test(a_recorded_status_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
