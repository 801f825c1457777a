/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzzes what a task's own HTTP server may answer to a health check: reaches
 * probe_http_answer_feed() and probe_http_verdict().  The first byte says in how large pieces the
 * rest arrives, which must make no difference. */

#include "pod/health/probe_http.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(struct probe_http_answer *answer, const char *bytes, size_t len, size_t piece)
{
    struct err err = { 0 };

    probe_http_answer_init(answer);
    for (size_t at = 0; at < len && !answer->done; at += piece) {
        size_t n = len - at < piece ? len - at : piece;

        if (probe_http_answer_feed(answer, bytes + at, n, &err) < 0) {
            assert(!answer->done && err.code < 0 && err.msg[0]);
            return err.code;
        }
    }
    return answer->done ? 0 : probe_http_answer_feed(answer, "", 0, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct probe_http_answer whole;
    struct probe_http_answer pieces;

    if (size < 2) {
        return 0;
    }
    int ret = feed(&whole, (const char *)data + 1, size - 1, size);

    assert(feed(&pieces, (const char *)data + 1, size - 1, (size_t)data[0] + 1) == ret);
    assert(whole.done == (ret == 0) && whole.body.len <= PROBE_HTTP_BODY_MAX);
    if (ret == 0) {
        assert(whole.status >= 200 && whole.status == pieces.status);
        assert(whole.body.len == pieces.body.len);
        assert(whole.body.len == 0 ||
               memcmp(whole.body.data, pieces.body.data, whole.body.len) == 0);
        free(probe_http_verdict(&whole, "ok", 200));
    }
    probe_http_answer_fini(&whole);
    probe_http_answer_fini(&pieces);
    return 0;
}
