/* SPDX-License-Identifier: Apache-2.0 */

/* acl: who may do what to a node, by ZooKeeper's schemes world, auth, digest, ip.
 *
 * Pure: no I/O.  Lists are interned, because a tree of a million nodes has a
 * handful of different ones; equal lists are one object, counted by its users.
 *
 * Failures: a list that ZooKeeper would not accept is Z_INVALIDACL; a key from
 * the ledger that does not parse is ERR_INVALID.
 * Invariant: an acl is in its table exactly while refs > 0 (or, restored from
 * the ledger and not used yet, until acl_unref).
 */

#include "store/acl.h"

#include "base/digest.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <string.h>

static void acl_free(struct acl *acl)
{
    jute_acl_free(acl->entries, acl->n_entries);
    buf_fini(&acl->key);
    free(acl);
}

void acl_table_fini(struct acl_table *table)
{
    struct acl *acl = table->all;
    struct acl *next = NULL;

    HASH_CLEAR(hh, table->all);
    for (; acl != NULL; acl = next) {
        next = acl->hh.next;
        acl_free(acl);
    }
}

static void add_entry(struct jute_acl **entries, int32_t *n, int32_t perms, const char *scheme,
                      const char *id)
{
    *entries = mem_realloc(*entries, (size_t)(*n + 1) * sizeof **entries);
    (*entries)[(*n)++] = (struct jute_acl){ perms, mem_strdup(scheme), mem_strdup(id) };
}

static struct acl *insert(struct acl_table *table, int64_t id, struct buf *key)
{
    struct acl *acl = mem_alloc(sizeof *acl);

    acl->id = id;
    acl->key = TAKE(*key);
    if (table->last_id < id) {
        table->last_id = id;
    }
    HASH_ADD_KEYPTR(hh, table->all, acl->key.data, acl->key.len, acl);
    return acl;
}

struct acl *acl_intern(struct acl_table *table, const struct jute_acl *entries, int32_t n_entries)
{
    CLEANUP_BUF key = { 0 };
    struct acl *acl = NULL;

    for (int32_t i = 0; i < n_entries; i++) {
        buf_addf(&key, "%d", entries[i].perms);
        buf_add(&key, "", 1);
        buf_add(&key, entries[i].scheme, strlen(entries[i].scheme) + 1);
        buf_add(&key, entries[i].id, strlen(entries[i].id) + 1);
    }
    HASH_FIND(hh, table->all, buf_text(&key), key.len, acl);
    if (acl == NULL) {
        acl = insert(table, table->last_id + 1, &key);
        for (int32_t i = 0; i < n_entries; i++) {
            add_entry(&acl->entries, &acl->n_entries, entries[i].perms, entries[i].scheme,
                      entries[i].id);
        }
    }
    acl->refs++;
    return acl;
}

void acl_unref(struct acl_table *table, struct acl *acl)
{
    if (acl != NULL && --acl->refs == 0) {
        HASH_DEL(table->all, acl);
        acl_free(acl);
    }
}

static const char *next_word(const char **at, size_t *left)
{
    const char *word = *at;
    const char *end = memchr(word, 0, *left);

    if (end == NULL) {
        return NULL;
    }
    *left -= (size_t)(end + 1 - word);
    *at = end + 1;
    return word;
}

int acl_restore(struct acl_table *table, int64_t id, const void *key, size_t len, struct err *err)
{
    CLEANUP_BUF copy = { 0 };
    const char *at = key;
    size_t left = len;

    buf_add(&copy, key, len);
    struct acl *acl = insert(table, id, &copy);

    acl->saved = true;
    while (left > 0) {
        const char *perms = next_word(&at, &left);
        const char *scheme = perms != NULL ? next_word(&at, &left) : NULL;
        const char *who = scheme != NULL ? next_word(&at, &left) : NULL;
        int64_t value = 0;

        if (who == NULL || str_to_int(perms, INT32_MIN, INT32_MAX, "perms", &value, err) < 0) {
            return err_set(err, ERR_INVALID, "ACL %lld is damaged", (long long)id);
        }
        add_entry(&acl->entries, &acl->n_entries, (int32_t)value, scheme, who);
    }
    return 0;
}

/* ---- who -------------------------------------------------------------- */

void acl_who_add(struct acl_who *who, const char *scheme, const char *id)
{
    for (int32_t i = 0; i < who->n_ids; i++) {
        if (str_eq(who->ids[i].scheme, scheme) && str_eq(who->ids[i].id, id)) {
            return;
        }
    }
    add_entry(&who->ids, &who->n_ids, 0, scheme, id);
}

void acl_who_fini(struct acl_who *who)
{
    jute_acl_free(who->ids, who->n_ids);
    *who = (struct acl_who){ 0 };
}

bool acl_authenticate(struct acl_who *who, const char *scheme, const struct jute_bytes *auth)
{
    enum { MAX_IDS = 64 }; /* A connection that proves ever more ids is not a user. */
    char sum[DIGEST_SHA1_BASE64];
    size_t len = auth->len > 0 ? (size_t)auth->len : 0;

    if (str_eq(scheme, "ip")) {
        return true; /* The address is there from the start. */
    }
    const char *text = len > 0 ? auth->data : "";

    if (!str_eq(scheme, "digest") || who->n_ids >= MAX_IDS || memchr(text, 0, len) != NULL) {
        return false;
    }
    const char *colon = memchr(text, ':', len);
    int user_len = (int)(colon != NULL ? (size_t)(colon - text) : len);
    CLEANUP(mem_freep) char *id = NULL;

    digest_sha1_base64(text, len, sum);
    id = str_printf("%.*s:%s", user_len, text, sum);
    acl_who_add(who, "digest", id);
    return true;
}

/* ---- address ranges --------------------------------------------------- */

struct range {
    unsigned char bytes[16];
    int n_bytes; /* 4 or 16 */
    int bits;
};

static bool parse_range(const char *text, struct range *ret_range)
{
    char address[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    struct err err = { 0 };
    int64_t bits = 0;

    if (len >= sizeof address) {
        return false;
    }
    memcpy(address, text, len);
    address[len] = 0;
    if (inet_pton(AF_INET, address, ret_range->bytes) == 1) {
        ret_range->n_bytes = 4;
    } else if (inet_pton(AF_INET6, address, ret_range->bytes) == 1) {
        ret_range->n_bytes = 16;
    } else {
        return false;
    }
    ret_range->bits = ret_range->n_bytes * 8;
    if (text[len] == '/') {
        if (str_to_int(text + len + 1, 0, ret_range->bits, "bits", &bits, &err) < 0) {
            return false;
        }
        ret_range->bits = (int)bits;
    }
    return true;
}

static bool ip_matches(const char *address, const char *expression)
{
    struct range have = { 0 };
    struct range want = { 0 };

    if (!parse_range(address, &have) || !parse_range(expression, &want) ||
        have.n_bytes != want.n_bytes) {
        return false;
    }
    for (int bit = 0; bit < want.bits; bit += 8) {
        int used = want.bits - bit < 8 ? want.bits - bit : 8;
        unsigned mask = 0xffU & (0xffU << (8 - used));

        if ((have.bytes[bit / 8] & mask) != (want.bytes[bit / 8] & mask)) {
            return false;
        }
    }
    return true;
}

/* ---- lists ------------------------------------------------------------ */

bool acl_allows(const struct acl *acl, const struct acl_who *who, int32_t perms)
{
    if (acl->n_entries == 0) {
        return true;
    }
    for (int32_t i = 0; i < acl->n_entries; i++) {
        const struct jute_acl *entry = &acl->entries[i];

        if ((entry->perms & perms) == 0) {
            continue;
        }
        if (str_eq(entry->scheme, "world") && str_eq(entry->id, "anyone")) {
            return true;
        }
        for (int32_t k = 0; k < who->n_ids; k++) {
            const struct jute_acl *id = &who->ids[k];

            if (str_eq(id->scheme, entry->scheme) &&
                (str_eq(id->scheme, "ip") ? ip_matches(id->id, entry->id)
                                          : str_eq(id->id, entry->id))) {
                return true;
            }
        }
    }
    return false;
}

/* As Java's split(":") counts: two parts, the second not empty. */
static bool digest_id_valid(const char *id)
{
    const char *colon = strchr(id, ':');
    const char *rest = colon != NULL ? colon + 1 + strcspn(colon + 1, ":") : NULL;

    return rest != NULL && rest > colon + 1 && rest[strspn(rest, ":")] == 0;
}

static bool has_entry(const struct jute_acl *entries, int32_t n, const struct jute_acl *entry)
{
    for (int32_t i = 0; i < n; i++) {
        if (entries[i].perms == entry->perms && str_eq(entries[i].scheme, entry->scheme) &&
            str_eq(entries[i].id, entry->id)) {
            return true;
        }
    }
    return false;
}

/* Append what one asked entry stands for; false when it is not acceptable. */
static bool expand(const struct jute_acl *asked, const struct acl_who *who,
                   struct jute_acl **entries, int32_t *n)
{
    struct range range = { 0 };
    int32_t before = *n;

    if (str_eq(asked->scheme, "auth")) {
        for (int32_t i = 0; i < who->n_ids; i++) {
            if (str_eq(who->ids[i].scheme, "digest")) {
                add_entry(entries, n, asked->perms, who->ids[i].scheme, who->ids[i].id);
            }
        }
        return *n > before;
    }
    bool ok = (str_eq(asked->scheme, "world") && str_eq(asked->id, "anyone")) ||
              (str_eq(asked->scheme, "digest") && digest_id_valid(asked->id)) ||
              (str_eq(asked->scheme, "ip") && parse_range(asked->id, &range));

    if (ok) {
        add_entry(entries, n, asked->perms, asked->scheme, asked->id);
    }
    return ok;
}

enum jute_code acl_fix_up(const struct jute_acl *asked, int32_t n_asked, const struct acl_who *who,
                          struct jute_acl **ret_entries, int32_t *ret_n)
{
    enum { MAX_ENTRIES = 1024 }; /* has_entry() looks at each pair. */
    struct jute_acl *entries = NULL;
    int32_t n = 0;

    if (n_asked > MAX_ENTRIES) {
        return Z_INVALIDACL;
    }
    for (int32_t i = 0; i < n_asked; i++) {
        if (has_entry(asked, i, &asked[i])) {
            continue;
        }
        if (!expand(&asked[i], who, &entries, &n)) {
            jute_acl_free(entries, n);
            return Z_INVALIDACL;
        }
    }
    if (n == 0) {
        return Z_INVALIDACL;
    }
    *ret_entries = entries;
    *ret_n = n;
    return Z_OK;
}

struct jute_acl *acl_masked(const struct acl *acl)
{
    struct jute_acl *entries = NULL;
    int32_t n = 0;

    for (int32_t i = 0; i < acl->n_entries; i++) {
        const struct jute_acl *entry = &acl->entries[i];

        add_entry(&entries, &n, entry->perms, entry->scheme, entry->id);
        if (str_eq(entry->scheme, "digest")) {
            CLEANUP(mem_freep) char *full = TAKE(entries[n - 1].id);

            entries[n - 1].id = str_printf("%.*s:x", (int)strcspn(full, ":"), full);
        }
    }
    return entries;
}
