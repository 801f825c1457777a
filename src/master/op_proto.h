/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The channel between davit-master and davit-op: JSON-RPC (guest/rpc.h) over the socketpair whose
 * number stands in the environment variable OP_PROTO_FD_ENV.  docs/architecture.md has the picture;
 * this file has every name, so that neither side spells one itself.
 *
 * davit-op asks, the master answers.  Each request carries "op" (the operation's number), "index"
 * (the opcode's) and "attempt"; a request of an older attempt gets ERR_CONFLICT, and davit-op
 * ends.  What a request records is durable when its answer arrives.
 *
 * op.hello {"version"} -> {"version", "attempt", "mode": run|disappeared, "index",
 *     "operation": <the operation record, see op_record.h>, "hooks_dir", "journal", "lock",
 *     "data_dir", "cluster", "node", "term_ms"}
 *     The only request without op, index and attempt.
 *
 * op.begin {"local_hooks": bool} -> {"rejected": message}: the prerequisite check said no; the
 *     opcode stands at post_intent with post_status "failed" and gets global post hooks only.
 *     -> {"vars", "nodes", "token", "object_type", "hooks_path": string|null, "pre_done": bool}
 *     Otherwise: recorded as pre_intent; or, when there is nobody to ask ("local_hooks" false and
 *     no nodes), as pre_done at once, which saves a write.
 *
 * op.pre_done {"verdict": ok|refused, "error", "hook"} -> {}
 *
 * op.work {"step", ...} -> what the opcode's step answers.  Comes from the worker; davit-op passes
 *     it on.  Answered when the step is done.
 *
 * op.vars {"status": succeeded|failed|disappeared, "result", "error", "log", "local_hooks": bool}
 *     -> {"status", "vars", "nodes", "pre_vars", "token", "object_type", "hooks_path", "done":
 * bool} Records post_intent.  "status" of the answer counts: once an opcode stood at post_intent,
 * its status is what was recorded first, so that a crash during post hooks cannot change it. "vars"
 * are the variables after the work (empty unless succeeded), "pre_vars" the saved ones. "nodes" is
 * of this opcode's post hooks.  "done": there was nobody to tell ("local_hooks" false and no
 * nodes), post_done is recorded and the opcode finished: op.finish is not to be sent.
 *
 * op.finish {"status", "result", "error", "log": [{"time_ms", "message"}]} -> {"next": bool}
 *     Records post_done and the opcode's final status.  "next" (of "done" too): there is a next
 *     opcode to begin; otherwise the operation is over and davit-op ends.
 *
 * hooks.run_on_nodes {"dir": "job-kill-pre.d", "phase": pre|post, "nodes": [name], "env": {},
 *     "token"} -> {"results": [{"node", "reachable": bool, "error", "runs": [hook record]}]}
 *     Nodes that are the master's own machine with the master's own hooks directory are left out.
 *
 * op.cancel (notification to davit-op): stop as ruled.
 * op.progress (notification to davit-op): the step that was asked for goes on; its deadline
 * (work_ms) begins anew.
 *
 * Between davit-op and its worker (`davit-op --worker`, same environment variable):
 * worker.run {"op", "input", "vars"} -> {"result"}   asked once by davit-op; an error is a failure
 * op.work {"step", ...}                              asked by the worker, passed on to the master
 * op.log {"message"}                                 notification by the worker, for the record
 */
enum { OP_PROTO_VERSION = 1 };

#define OP_PROTO_NAME        "davit-op"
#define OP_PROTO_WORKER_NAME "davit-op-worker"
#define OP_PROTO_FD_ENV      "DAVIT_OP_FD"

#define OP_METHOD_HELLO    "op.hello"
#define OP_METHOD_BEGIN    "op.begin"
#define OP_METHOD_PRE_DONE "op.pre_done"
#define OP_METHOD_WORK     "op.work"
#define OP_METHOD_VARS     "op.vars"
#define OP_METHOD_FINISH   "op.finish"
#define OP_METHOD_NODES    "hooks.run_on_nodes"
#define OP_METHOD_CANCEL   "op.cancel"
#define OP_METHOD_PROGRESS "op.progress"
#define OP_METHOD_RUN      "worker.run"
#define OP_METHOD_LOG      "op.log"

#define OP_MODE_RUN         "run"
#define OP_MODE_DISAPPEARED "disappeared"

/* What an opcode, and an operation, can end as: the words of GANETI_POST_STATUS, and one more
 * (canceled) for what never began. */
#define OP_STATUS_QUEUED      "queued"
#define OP_STATUS_RUNNING     "running"
#define OP_STATUS_SUCCEEDED   "succeeded"
#define OP_STATUS_FAILED      "failed"
#define OP_STATUS_DISAPPEARED "disappeared"
#define OP_STATUS_CANCELED    "canceled"

#define OP_VERDICT_OK      "ok"
#define OP_VERDICT_REFUSED "refused"

/* GANETI_OBJECT_TYPE of an opcode that has no hooks of its own. */
#define OP_NOT_APPLICABLE "NOT_APPLICABLE"
