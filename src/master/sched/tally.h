/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Counts by number (not 0), most of which are never counted.  Zeroed: all are 0. */
struct tally {
    struct tally_entry {
        uint32_t key, count;
    } * entries;
    uint32_t size; /* A power of two, or 0. */
    uint32_t used;
};

uint32_t tally_of(const struct tally *tally, uint32_t key);
/* The new count. */
uint32_t tally_add(struct tally *tally, uint32_t key, uint32_t n);
void tally_clear(struct tally *tally);
void tally_fini(struct tally *tally);
