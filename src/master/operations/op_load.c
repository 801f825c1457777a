/* SPDX-License-Identifier: Apache-2.0 */

/* op_load: reads every operation's record, a window of reads at a time.
 *
 * What the records mean is operations.c's.
 *
 *   list live -> list archive -> read all, in order -> done
 *
 * Failures: a node that vanished or does not hold a record of a version that we
 * know is skipped, with a log line; any other failure of a read ends the load.
 * Invariant: records are told in the order of `names`, whatever the order of
 * answers; the callback comes once, after no read is under way.
 */

#include "master/operations/op_load.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "master/operations/op_record.h"

#include <string.h>

enum { WINDOW = 64, MAX_RECORD = 1024 * 1024 };

struct load_slot {
    struct op_load *load;
    struct zk_req req;
    size_t at;
    bool busy;
};

struct op_load {
    struct zk *zk;
    size_t keep;
    op_load_record_fn record;
    op_load_cb done;
    void *data;
    struct zk_req list;
    char **names; /* Full paths, live ones first. */
    json_t **records;
    size_t n, n_live, next, told, n_busy;
    struct load_slot slots[WINDOW];
    struct err err;
};

static void free_load(struct op_load *load)
{
    for (size_t i = 0; load->records != NULL && i < load->n; i++) {
        json_decref(load->records[i]);
    }
    free(load->records);
    strv_free(load->names);
    free(load);
}

static void end(struct op_load *load)
{
    op_load_cb done = load->done;
    void *data = load->data;
    struct err err = load->err;

    free_load(load);
    done(data, err.code < 0 ? &err : NULL);
}

static void tell(struct op_load *load)
{
    while (load->told < load->next && load->records[load->told] != NULL) {
        json_t *record = load->records[load->told];

        if (json_is_object(record)) {
            load->record(load->data, record, load->told >= load->n_live);
        }
        load->records[load->told++] = json_null();
        json_decref(record);
    }
}

static void read_more(struct op_load *load);

static json_t *decode(const struct zk_req *req, const char *path)
{
    struct err err = { 0 };
    CLEANUP(json_freep) json_t *record = NULL;

    if (req->err.code == 0 && json_parse(req->bytes, req->len, MAX_RECORD, &record, &err) == 0 &&
        op_record_check(record, &err) == 0) {
        return TAKE(record);
    }
    log_error("operation record left alone path=%s: %s", path,
              req->err.code < 0 ? req->err.msg : err.msg);
    return json_null();
}

static void on_record(struct zk_req *req)
{
    struct load_slot *slot = req->data;
    struct op_load *load = slot->load;

    slot->busy = false;
    load->n_busy--;
    if (req->err.code < 0 && req->err.code != ERR_NOTFOUND) {
        load->err = req->err;
    } else {
        load->records[slot->at] = decode(req, load->names[slot->at]);
    }
    read_more(load);
}

static void read_more(struct op_load *load)
{
    tell(load);
    for (size_t i = 0; i < WINDOW && load->next < load->n && load->err.code == 0; i++) {
        struct load_slot *slot = &load->slots[i];

        if (!slot->busy) {
            *slot = (struct load_slot){ .load = load, .at = load->next++, .busy = true };
            slot->req.data = slot;
            load->n_busy++;
            zk_get(load->zk, &slot->req, load->names[slot->at], on_record);
        }
    }
    if (load->n_busy == 0) {
        end(load);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends the newest `keep` of the listed names as paths. */
static void take_names(struct op_load *load, const struct zk_req *req, const char *folder,
                       size_t keep)
{
    CLEANUP(strv_freep) char **sorted = mem_alloc(sizeof *sorted);

    for (size_t i = 0; i < req->n_children; i++) {
        strv_add(&sorted, req->children[i]);
    }
    qsort(sorted, req->n_children, sizeof *sorted, by_name);
    for (size_t i = req->n_children > keep ? req->n_children - keep : 0; i < req->n_children; i++) {
        strv_addf(&load->names, "%s/%s", folder, sorted[i]);
    }
    load->n = strv_len(load->names);
}

static void on_archive(struct zk_req *req)
{
    struct op_load *load = req->data;

    if (req->err.code < 0 && req->err.code != ERR_NOTFOUND) {
        load->err = req->err;
        end(load);
        return;
    }
    if (req->err.code == 0) {
        take_names(load, req, OP_LOAD_ARCHIVE, load->keep);
    }
    load->records = mem_alloc((load->n + 1) * sizeof(json_t *));
    read_more(load);
}

static void on_live(struct zk_req *req)
{
    struct op_load *load = req->data;

    if (req->err.code < 0 && req->err.code != ERR_NOTFOUND) {
        load->err = req->err;
        end(load);
        return;
    }
    if (req->err.code == 0) {
        take_names(load, req, OP_LOAD_LIVE, SIZE_MAX);
    }
    load->n_live = load->n;
    memset(&load->list, 0, sizeof load->list);
    load->list.data = load;
    zk_children(load->zk, &load->list, OP_LOAD_ARCHIVE, on_archive);
}

struct op_load *op_load_start(struct zk *zk, size_t keep, op_load_record_fn record, op_load_cb done,
                              void *data)
{
    struct op_load *load = mem_alloc(sizeof *load);

    *load =
        (struct op_load){ .zk = zk, .keep = keep, .record = record, .done = done, .data = data };
    load->names = mem_alloc(sizeof *load->names);
    load->list.data = load;
    zk_children(zk, &load->list, OP_LOAD_LIVE, on_live);
    return load;
}

void op_load_drop(struct op_load *load)
{
    zk_forget(&load->list);
    for (size_t i = 0; i < WINDOW; i++) {
        if (load->slots[i].busy) {
            zk_forget(&load->slots[i].req);
        }
    }
    free_load(load);
}
