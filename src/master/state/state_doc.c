/* SPDX-License-Identifier: Apache-2.0 */
/* state_doc: documents that state keeps and writes for others.
 *
 * Not what they mean: updates, cron jobs and quotas have their owners.
 *
 * Invariant: a deleted document is in no hash, only in the queue, which frees it; one of
 * the same name that is made afterwards is another object and is written behind it.
 */
#include "master/state/state_doc.h"

#include "base/json.h"
#include "base/str.h"
#include "master/state/state_priv.h"

#include <assert.h>
#include <string.h>

static const char *const folders[STATE_DOC_N_KINDS] = {
    [STATE_DOC_UPDATE] = "/davit/updates",
    [STATE_DOC_CRON] = "/davit/cron",
    [STATE_DOC_QUOTA] = "/davit/quota",
};

const char *state_doc_folder(enum state_doc_kind kind)
{
    return folders[kind];
}

struct state_doc *state_doc_find(const struct state *state, enum state_doc_kind kind,
                                 const char *name)
{
    struct state_doc *doc;

    HASH_FIND_STR(state->docs[kind], name, doc);
    return doc;
}

struct state_doc *state_docs(const struct state *state, enum state_doc_kind kind)
{
    return state->docs[kind];
}

void state_doc_free(struct state_doc *doc)
{
    free(doc->name);
    json_decref(doc->json);
    free(doc);
}

struct state_doc *state_doc_add_take(struct state *state, enum state_doc_kind kind,
                                     const char *name, json_t *json)
{
    struct state_doc *doc = state_doc_find(state, kind, name);

    assert(json_is_object(json) && strchr(name, '/') == NULL);
    if (doc == NULL) {
        doc = mem_alloc(sizeof(*doc));
        doc->kind = kind;
        doc->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, state->docs[kind], doc->name, strlen(doc->name), doc);
    }
    if (doc->json != json) {
        json_decref(doc->json);
        doc->json = json;
    }
    return doc;
}

struct state_doc *state_doc_put_take(struct state *state, enum state_doc_kind kind,
                                     const char *name, json_t *json)
{
    struct state_doc *doc = state_doc_add_take(state, kind, name, json);

    state_bump(state);
    state_write_doc(state, doc);
    return doc;
}

void state_doc_delete(struct state *state, enum state_doc_kind kind, const char *name)
{
    struct state_doc *doc = state_doc_find(state, kind, name);

    if (doc == NULL) {
        return;
    }
    HASH_DEL(state->docs[kind], doc);
    doc->deleted = true;
    state_bump(state);
    state_write_doc(state, doc);
}

void state_docs_free(struct state *state)
{
    for (unsigned kind = 0; kind < STATE_DOC_N_KINDS; kind++) {
        struct state_doc *doc;
        struct state_doc *next;

        HASH_ITER(hh, state->docs[kind], doc, next)
        {
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL moves the head. */
            HASH_DEL(state->docs[kind], doc);
            state_doc_free(doc);
        }
    }
}
