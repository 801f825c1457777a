/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Data watches are set by getData and exists, child watches by getChildren. */
enum zwatch_kind { ZWATCH_DATA, ZWATCH_CHILD };

struct zwatch;
struct zwatch_path;

struct zwatch_table {
    size_t n_watches;

    /* Private to zwatch.c. */
    struct zwatch *by_client;
    struct zwatch_path *by_path;
};

/* Embedded in whoever watches; zeroed to start. */
struct zwatch_client {
    struct zwatch *all;
    unsigned long fired_in; /* round in which it was told last */
};

/* Setting the same watch twice is setting it once. */
void zwatch_add(struct zwatch_table *table, struct zwatch_client *client, enum zwatch_kind kind,
                const char *path);
bool zwatch_has(const struct zwatch_table *table, const struct zwatch_client *client,
                enum zwatch_kind kind, const char *path);

/* False when there was none. */
bool zwatch_remove(struct zwatch_table *table, struct zwatch_client *client, enum zwatch_kind kind,
                   const char *path);
void zwatch_remove_client(struct zwatch_table *table, struct zwatch_client *client);

/* Take one of those who wait at path; NULL when none is left.  The watch is gone. */
struct zwatch_client *zwatch_take(struct zwatch_table *table, enum zwatch_kind kind,
                                  const char *path);

/* All of them; nothing may be left in the table's clients afterwards. */
void zwatch_table_fini(struct zwatch_table *table);
