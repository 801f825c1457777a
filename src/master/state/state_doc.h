/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "master/state/state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Documents of the store that state does not look into: each kind has an owner in the master who
 * decodes them at the start of a term and writes them whole on each change. */
enum state_doc_kind {
    STATE_DOC_UPDATE, /* /davit/updates/<uuid> */
    STATE_DOC_CRON,   /* /davit/cron/<role>:<env>:<name> */
    STATE_DOC_QUOTA,  /* /davit/quota/<role> */
    STATE_DOC_N_KINDS,
};

enum { STATE_DOC_VERSION = 1, STATE_DOC_MAX_BYTES = 400 * 1024 };

struct state_doc {
    enum state_doc_kind kind;
    char *name;
    json_t *json; /* Read only: a change is a put of another one. */

    /* Private to state_doc.c and state_write.c. */
    struct state_item *item;
    bool stored, deleted;
    UT_hash_handle hh;
};

/* NULL when there is none.  Borrowed until the next put or delete of that name. */
struct state_doc *state_doc_find(const struct state *state, enum state_doc_kind kind,
                                 const char *name);

/* Head of the hash, for HASH_ITER by hh. */
struct state_doc *state_docs(const struct state *state, enum state_doc_kind kind);

/* Makes it or replaces what it says: takes json, an object with "v":1 whose text is at most
 * STATE_DOC_MAX_BYTES.  name has no '/'.  Written at the end of the turn, behind what was touched
 * before the first change of this document in the turn. */
struct state_doc *state_doc_put_take(struct state *state, enum state_doc_kind kind,
                                     const char *name, json_t *json);

/* Fine when there is none. */
void state_doc_delete(struct state *state, enum state_doc_kind kind, const char *name);

/* "/davit/updates": the folder of a kind. */
const char *state_doc_folder(enum state_doc_kind kind);
