/* SPDX-License-Identifier: Apache-2.0 */

/* opcode_test: OP_TEST_DELAY, an operation that only takes its time.
 *
 * For tests of everything around the work, as the original's: {"duration": seconds}.  The worker
 * waits (op/opcodes/test_delay.c); there is nothing to do on the master.  A duration of 0 or less
 * is well-formed but rejected by the prerequisite check, which is what its tests ask for.
 */

#include "base/json.h"
#include "master/operations/opcodes.h"

enum { MAX_DURATION_S = 24 * 60 * 60 };

static int validate(const struct opcode_ref *ref, struct err *err)
{
    const json_t *duration = json_object_get(ref->input, "duration");

    if (!json_is_number(duration) || json_number_value(duration) > MAX_DURATION_S) {
        return err_set(err, ERR_INVALID, "member 'duration' is not a number of at most %d seconds",
                       MAX_DURATION_S);
    }
    if (json_array_size(json_object_get(ref->input, "on_nodes")) > 0) {
        return err_set(err, ERR_UNSUPPORTED, "OP_TEST_DELAY waits on the master only");
    }
    return 0;
}

static int check(const struct opcode_ref *ref, struct err *err)
{
    double duration = json_num_or(ref->input, "duration", 0);

    if (duration <= 0) {
        return err_set(err, ERR_INVALID, "duration must be greater than 0, not %g", duration);
    }
    return 0;
}

const struct opcode opcode_test_delay = {
    .name = "OP_TEST_DELAY",
    .object_type = OP_NOT_APPLICABLE,
    .validate = validate,
    .check = check,
};
