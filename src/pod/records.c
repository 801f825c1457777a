/* SPDX-License-Identifier: Apache-2.0 */

/* records: what pod hooks did, until an agent has it safe.
 *
 * The journal proper is the agent's; this is its waiting room, and bounded: a pod
 * may run for months without an agent.
 *
 * Each record is a whole `hook` line.  The file is appended to; it is written anew when
 * a record went (dropped, replaced or acknowledged) and removed when none is left.
 * Failure: a file that cannot be written is told once per record; memory still has it.
 */
#include "pod/records.h"

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "pod/proto.h"

#include <fcntl.h>
#include <string.h>

struct entry {
    uint64_t seq;
    char *run_id;
    char *line;
    size_t len;
};

struct records {
    char *path;
    struct entry *entries; /* oldest first */
    size_t n;
    size_t bytes;
    uint64_t last_seq;
    uint64_t dropped; /* so far */
};

static void entry_fini(struct records *records, struct entry *entry)
{
    records->bytes -= entry->len;
    free(entry->run_id);
    free(entry->line);
}

static void remove_at(struct records *records, size_t at)
{
    entry_fini(records, &records->entries[at]);
    records->n--;
    memmove(&records->entries[at], &records->entries[at + 1],
            (records->n - at) * sizeof(*records->entries));
}

static void append(struct records *records, uint64_t seq, const char *run_id, char *line_taken)
{
    records->entries = mem_realloc(records->entries, (records->n + 1) * sizeof(*records->entries));
    struct entry *entry = &records->entries[records->n++];
    *entry = (struct entry){ seq, mem_strdup(run_id), line_taken, strlen(line_taken) };
    records->bytes += entry->len;
    records->last_seq = seq;
}

void records_lines(const struct records *records, struct buf *out)
{
    for (size_t i = 0; i < records->n; i++) {
        buf_add(out, records->entries[i].line, records->entries[i].len);
    }
}

static int rewrite(const struct records *records, struct err *err)
{
    CLEANUP_BUF text = { 0 };

    if (records->n == 0) {
        (void)unlink(records->path);
        return 0;
    }
    records_lines(records, &text);
    return file_write(records->path, text.data, text.len, 0600, false, err);
}

/* What cannot be read of our own file is no reason not to run the pod. */
static void load(struct records *records)
{
    CLEANUP_BUF text = { 0 };
    struct err err = { 0 };

    if (file_read(records->path, (size_t)2 * RECORDS_BYTES_MAX, &text, &err) < 0) {
        return;
    }
    CLEANUP(strv_freep) char **lines = str_split(buf_text(&text), "\n");
    for (size_t i = 0; lines[i]; i++) {
        struct proto_msg msg = { 0 };

        if (proto_parse(lines[i], strlen(lines[i]), &msg, &err) == 0) {
            if (msg.type == PROTO_HOOK && records->n < RECORDS_MAX) {
                append(records, msg.seq, json_str_or(msg.record, "run_id", ""),
                       str_printf("%s\n", lines[i]));
            }
            proto_msg_fini(&msg);
        }
    }
    if (!str_ends(buf_text(&text), "\n")) {
        (void)rewrite(records, &err); /* Else the next line would be glued to a torn one. */
    }
}

struct records *records_open(const char *home)
{
    struct records *records = mem_alloc(sizeof(*records));

    records->path = file_join(home, PROTO_HOOKS_FILE);
    load(records);
    return records;
}

void records_free(struct records *records)
{
    if (!records) {
        return;
    }
    while (records->n > 0) {
        remove_at(records, records->n - 1);
    }
    free(records->entries);
    free(records->path);
    free(records);
}

static int append_last(const struct records *records, struct err *err)
{
    const struct entry *entry = &records->entries[records->n - 1];
    CLEANUP(fd_closep)
    int fd = open(records->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || write(fd, entry->line, entry->len) != (ssize_t)entry->len) {
        return err_set(err, ERR_IO, "write %s: %s", records->path, strerror(errno));
    }
    return 0;
}

/* Does the new record make older ones go? */
static bool make_room(struct records *records, const char *run_id, size_t len)
{
    bool changed = false;

    for (size_t i = records->n; run_id[0] && i-- > 0;) {
        if (strcmp(records->entries[i].run_id, run_id) == 0) {
            remove_at(records, i);
            changed = true;
        }
    }
    while (records->n > 0 &&
           (records->n >= RECORDS_MAX || records->bytes + len > RECORDS_BYTES_MAX)) {
        remove_at(records, 0);
        records->dropped++;
        changed = true;
    }
    return changed;
}

int records_add(struct records *records, const json_t *record, const char **ret_line,
                struct err *err)
{
    const char *run_id = json_str_or(record, "run_id", "");
    CLEANUP(json_freep) json_t *body = json_object();

    json_put_str(body, "type", "hook");
    json_put_int(body, "seq", (int64_t)(records->last_seq + 1));
    json_put_take(body, "record", json_incref((json_t *)record));
    CLEANUP(mem_freep) char *text = json_text_ordered(body);
    bool changed = make_room(records, run_id, strlen(text));
    if (records->dropped > 0) {
        json_put_int(body, "dropped", (int64_t)records->dropped);
        free(text);
        text = json_text_ordered(body);
    }
    append(records, records->last_seq + 1, run_id, str_printf("%s\n", text));
    *ret_line = records->entries[records->n - 1].line;
    return changed ? rewrite(records, err) : append_last(records, err);
}

void records_ack(struct records *records, uint64_t seq)
{
    struct err ignored = { 0 };
    bool changed = false;

    while (records->n > 0 && records->entries[0].seq <= seq) {
        remove_at(records, 0);
        changed = true;
    }
    if (changed) {
        /* A file that is too old only makes the agent hear some twice. */
        (void)rewrite(records, &ignored);
    }
}
