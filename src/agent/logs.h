/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/pods.h"
#include "http/httpd.h"

#include <uv.h>

/* Serves what the processes of a pod wrote. */
struct logs;

/* Borrows pods, root, the directory of the pods' homes, and ended_root, where those of tasks
 * that are over are kept. */
void logs_new(uv_loop_t *loop, struct pods *pods, const char *root, const char *ended_root,
              struct logs **ret_logs);

/* Answers GET .../{id}/logs?process=&stream=stdout|stderr&run=N&follow=true.  Without process the
 * last one of the task that has logs, without run the newest; follow streams on, into
 * newer runs too when none was asked for, until the pod has ended. */
void logs_serve(struct logs *logs, struct httpd_request *req);

/* Ends all streams, frees, then cb. */
void logs_close(struct logs *logs, void (*cb)(void *data), void *data);
