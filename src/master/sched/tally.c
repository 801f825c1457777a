/* SPDX-License-Identifier: Apache-2.0 */
/* tally: a hash of small numbers, made for one question: how many are there?
 *
 * Open addressing, at most half full, never shrinking before tally_clear().  uthash would
 * allocate per entry and hash four bytes as if they were a text: this is asked for each
 * pair of a node and a job.
 */
#include "master/sched/tally.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 8 };

static struct tally_entry *slot(const struct tally *tally, uint32_t key)
{
    uint32_t at = key * 2654435769U; /* Knuth's golden ratio: neighbours lie apart. */

    for (at ^= at >> 16;; at++) {
        struct tally_entry *entry = &tally->entries[at & (tally->size - 1)];

        if (entry->key == key || entry->key == 0) {
            return entry;
        }
    }
}

uint32_t tally_of(const struct tally *tally, uint32_t key)
{
    return tally->used > 0 ? slot(tally, key)->count : 0;
}

static void grow(struct tally *tally)
{
    struct tally old = *tally;

    tally->size = old.size == 0 ? FIRST_SIZE : old.size * 2;
    tally->entries = mem_alloc(tally->size * sizeof(tally->entries[0]));
    for (uint32_t i = 0; i < old.size; i++) {
        if (old.entries[i].key != 0) {
            *slot(tally, old.entries[i].key) = old.entries[i];
        }
    }
    free(old.entries);
}

uint32_t tally_add(struct tally *tally, uint32_t key, uint32_t n)
{
    struct tally_entry *entry;

    if (tally->used * 2 >= tally->size) {
        grow(tally);
    }
    entry = slot(tally, key);
    if (entry->key == 0) {
        entry->key = key;
        tally->used++;
    }
    return entry->count += n;
}

void tally_clear(struct tally *tally)
{
    if (tally->used > 0) {
        memset(tally->entries, 0, tally->size * sizeof(tally->entries[0]));
        tally->used = 0;
    }
}

void tally_fini(struct tally *tally)
{
    free(tally->entries);
    *tally = (struct tally){ 0 };
}
