/* SPDX-License-Identifier: Apache-2.0 */

/* bench_httpd: answers GET /v1/ping with a small JSON document; its port goes to stdout.  Measure
 * it with wrk. */

#include "http/httpd.h"

#include <signal.h>
#include <stdio.h>

static void on_ping(struct httpd_request *req)
{
    httpd_reply_json_take(req, 200, json_pack("{s:s, s:i}", "state", "RUNNING", "instances", 3));
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    httpd_close(signal->data, NULL);
    uv_close((uv_handle_t *)signal, NULL);
}

int main(void)
{
    static const struct httpd_route routes[] = {
        { "GET", "/v1/ping/{name}", on_ping, HTTPD_VIEWER, NULL },
    };
    uv_loop_t *loop = uv_default_loop();
    struct httpd *httpd = NULL;
    uv_signal_t term;
    uint16_t port = 0;
    struct err err = { 0 };

    if (httpd_new(&(struct httpd_options){ .loop = loop, .routes = routes, .n_routes = 1 }, &httpd,
                  &err) < 0 ||
        httpd_listen_tcp(httpd, "127.0.0.1:0", &port, &err) < 0) {
        fprintf(stderr, "bench-httpd: %s\n", err.msg);
        return 1;
    }
    uv_signal_init(loop, &term);
    term.data = httpd;
    uv_signal_start(&term, on_signal, SIGTERM);
    printf("%u\n", port);
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
