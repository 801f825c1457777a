/* SPDX-License-Identifier: Apache-2.0 */
/* api_cron: cron jobs as the API shows them.
 *
 * Reads only.  The list is sorted by key, so that equal states give equal text.
 */
#include "master/api/master_api_priv.h"

#include "base/json.h"
#include "base/str.h"
#include "master/cron/crons.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TIMES = 1000 };

static int compare_entries(const void *a, const void *b)
{
    const struct cron_entry *const *one = a;
    const struct cron_entry *const *two = b;

    return strcmp((*one)->config->key_text, (*two)->config->key_text);
}

/* Those that pattern names, sorted; the caller's. */
static const struct cron_entry **find_entries(const struct crons *crons,
                                              const struct job_key *pattern, size_t *ret_n)
{
    const struct cron_entry *entry;
    size_t max = HASH_COUNT(crons_entries(crons));
    const struct cron_entry **found = mem_alloc((max + 1) * sizeof(struct cron_entry *));
    size_t n = 0;

    for (entry = crons_entries(crons); entry != NULL; entry = entry->hh.next) {
        if (job_key_matches(pattern, &entry->config->key)) {
            found[n++] = entry;
        }
    }
    if (n > 0) {
        qsort(found, n, sizeof(struct cron_entry *), compare_entries);
    }
    *ret_n = n;
    return found;
}

static void answer_crons(struct httpd_request *req, struct state *state)
{
    const struct crons *crons = lead_crons(((const struct master_api *)httpd_ctx(req))->lead);
    const char *text = httpd_query(req, "job");
    struct job_key pattern = { 0 };
    json_t *items = json_array();
    struct err err;
    size_t n;

    if (job_key_parse_glob(text != NULL ? text : "*", &pattern, &err) < 0) {
        json_decref(items);
        httpd_reply_err(req, &err);
        return;
    }
    CLEANUP(mem_freep) const struct cron_entry **entries = find_entries(crons, &pattern, &n);

    for (size_t i = 0; i < n; i++) {
        json_array_append_new(items, crons_encode(crons, entries[i], 0));
    }
    job_key_fini(&pattern);
    master_api_reply_list_take(req, state, items, NULL);
}

void api_get_crons(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_crons, MASTER_API_PAUSE_LIST);
}

static void answer_cron(struct httpd_request *req, struct state *state)
{
    const struct crons *crons = lead_crons(((const struct master_api *)httpd_ctx(req))->lead);
    CLEANUP(mem_freep)
    char *key = str_printf("%s/%s/%s/%s", httpd_param(req, "cluster"), httpd_param(req, "role"),
                           httpd_param(req, "env"), httpd_param(req, "name"));
    const struct cron_entry *entry = crons_find(crons, key);
    int64_t times;
    json_t *doc;

    if (entry == NULL) {
        struct err err;

        err_set(&err, ERR_NOTFOUND, "there is no cron job %s", key);
        httpd_reply_err(req, &err);
        return;
    }
    if (!master_api_query_int(req, "next", 0, MAX_TIMES, 0, &times)) {
        return;
    }
    doc = crons_encode(crons, entry, (size_t)times);
    json_put_int(doc, "revision", (int64_t)state_revision(state));
    json_put_take(doc, "job", json_incref(entry->config->doc));
    httpd_reply_json_take(req, 200, doc);
}

void api_get_cron(struct httpd_request *req)
{
    master_api_answer_when_newer(req, answer_cron, MASTER_API_PAUSE_ONE);
}
