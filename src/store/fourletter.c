/* SPDX-License-Identifier: Apache-2.0 */

/* fourletter: the commands that monitoring sends on a bare connection.
 *
 * Pure.  Not the protocol: a word is the whole conversation.
 */

#include "store/fourletter.h"

#include <string.h>

static const char VERSION[] = "3.8.0-davit-" DAVIT_VERSION;

struct numbers {
    const struct engine *engine;
    size_t n_connections;
};

static void ruok(const struct numbers *numbers, struct buf *out)
{
    (void)numbers;
    buf_add_text(out, "imok");
}

static void isro(const struct numbers *numbers, struct buf *out)
{
    (void)numbers;
    buf_add_text(out, "rw");
}

static void srvr(const struct numbers *numbers, struct buf *out)
{
    const struct engine *engine = numbers->engine;

    buf_addf(out,
             "Zookeeper version: %s\n"
             "Received: %llu\nSent: %llu\nConnections: %zu\nOutstanding: 0\n"
             "Zxid: 0x%llx\nMode: standalone\nNode count: %zu\n",
             VERSION, (unsigned long long)engine->n_received, (unsigned long long)engine->n_sent,
             numbers->n_connections, (unsigned long long)engine->tree.zxid, engine->tree.n_nodes);
}

static void mntr(const struct numbers *numbers, struct buf *out)
{
    const struct engine *engine = numbers->engine;

    buf_addf(out,
             "zk_version\t%s\nzk_server_state\tstandalone\n"
             "zk_num_alive_connections\t%zu\nzk_outstanding_requests\t0\n"
             "zk_packets_received\t%llu\nzk_packets_sent\t%llu\n"
             "zk_znode_count\t%zu\nzk_watch_count\t%zu\nzk_ephemerals_count\t%zu\n"
             "zk_approximate_data_size\t%llu\nzk_global_sessions\t%u\n",
             VERSION, numbers->n_connections, (unsigned long long)engine->n_received,
             (unsigned long long)engine->n_sent, engine->tree.n_nodes, engine->watches.n_watches,
             engine->tree.n_ephemeral, (unsigned long long)engine->tree.data_bytes,
             HASH_COUNT(engine->sessions.all));
}

static const struct word {
    char word[5];
    void (*answer)(const struct numbers *numbers, struct buf *out);
} WORDS[] = {
    { "ruok", ruok }, { "isro", isro }, { "srvr", srvr }, { "stat", srvr }, { "mntr", mntr },
};

static const struct word *find(const char *word)
{
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        if (memcmp(WORDS[i].word, word, 4) == 0) {
            return &WORDS[i];
        }
    }
    return NULL;
}

bool fourletter_known(const char *word)
{
    return find(word) != NULL;
}

void fourletter_answer(const struct engine *engine, size_t n_connections, const char *word,
                       struct buf *out)
{
    struct numbers numbers = { engine, n_connections };
    const struct word *entry = find(word);

    assert(entry != NULL);
    entry->answer(&numbers, out);
}
