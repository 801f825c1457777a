/* SPDX-License-Identifier: Apache-2.0 */

/* works: which opcodes have a worker's side of their own. */

#include "base/str.h"
#include "op/worker.h"

static const struct {
    const char *op;
    work_fn work;
} table[] = {
    { "OP_TEST_DELAY", work_delay },
};

work_fn works_find(const char *op)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (str_eq(table[i].op, op)) {
            return table[i].work;
        }
    }
    return NULL;
}
