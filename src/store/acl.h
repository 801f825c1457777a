/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/jute.h"

#include <uthash.h>

enum acl_perm {
    ACL_READ = 1,
    ACL_WRITE = 2,
    ACL_CREATE = 4,
    ACL_DELETE = 8,
    ACL_ADMIN = 16,
    ACL_ALL = 31,
};

/* One list of entries, shared by all nodes that have it. */
struct acl {
    int64_t id; /* its row in the ledger */
    size_t refs;
    bool saved; /* The ledger has its row. */
    struct jute_acl *entries;
    int32_t n_entries;

    /* Private to acl.c and ledger.c. */
    struct buf key; /* the entries as bytes: "perms\0scheme\0id\0..." */
    UT_hash_handle hh;
};

/* All lists in use, each once. */
struct acl_table {
    struct acl *all;
    int64_t last_id;
};

/* Who a connection is: its address, and whom it has proved to be. */
struct acl_who {
    struct jute_acl *ids; /* perms unused */
    int32_t n_ids;
};

void acl_table_fini(struct acl_table *table);

/* The shared list with these entries (copied), referenced once more. */
struct acl *acl_intern(struct acl_table *table, const struct jute_acl *entries, int32_t n_entries);
void acl_unref(struct acl_table *table, struct acl *acl);

/* Put back a list that the ledger had under id; ERR_INVALID when key is damaged. */
int acl_restore(struct acl_table *table, int64_t id, const void *key, size_t len, struct err *err);

void acl_who_add(struct acl_who *who, const char *scheme, const char *id);
void acl_who_fini(struct acl_who *who);

/* "digest" (auth is user:password) and "ip".  False: no such scheme, or refused. */
bool acl_authenticate(struct acl_who *who, const char *scheme, const struct jute_bytes *auth);

/* May who do any of perms here? */
bool acl_allows(const struct acl *acl, const struct acl_who *who, int32_t perms);

/* The entries that a client asked for, without doubles and with "auth" replaced
 * by whom it has proved to be.  Z_OK, or Z_INVALIDACL and nothing is returned.
 * The result is the caller's: jute_acl_free(). */
enum jute_code acl_fix_up(const struct jute_acl *asked, int32_t n_asked, const struct acl_who *who,
                          struct jute_acl **ret_entries, int32_t *ret_n);

/* A copy for readers that may not administer: passwords of digests become "x". */
struct jute_acl *acl_masked(const struct acl *acl);
