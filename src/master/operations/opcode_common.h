/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "master/operations/opcodes.h"
#include "master/state/state.h"
#include "model/job.h"

#include <jansson.h>

/* What the opcodes of jobs share: the variables and the nodes of a job, and checks of their
 * input.  Names of variables are without GANETI_, as everywhere in opcodes. */

enum { OPCODE_COMMON_MAX_MESSAGE = 4096 };

void opcode_common_put_int(json_t *vars, const char *name, long long value);

/* J of contracts/ganeti.md section 4, OP_TARGET and JOB_KEY among it. */
void opcode_common_put_job(json_t *vars, const struct job *job);

/* Name = the numbers with a space between; an array that is none is the empty list. */
void opcode_common_put_instances(json_t *vars, const char *name, const json_t *instances);

/* Nodes on which tasks of the job live, each once, appended to nodes. */
void opcode_common_add_nodes(const struct state_job *job, json_t *nodes);

/* Checks the member "key" (ERR_INVALID unless it is a job key) and the length of "message". */
int opcode_common_check_key(const json_t *input, struct err *err);

/* Checks the member "instances": missing, null, or an array of at most JOB_MAX_INSTANCES
 * numbers from 0. */
int opcode_common_check_instances(const json_t *input, struct err *err);
/* The instances that a checked input names, ascending, each once: the caller's.  NULL: it names
 * none, which is all of them.  A number that no instance can have is INT32_MAX. */
int *opcode_common_instances(const json_t *input, size_t *ret_n);
bool opcode_common_is_named(const int *ids, size_t n, int instance);

/* The member "key", the caller's; NULL when there is none.  For struct opcode.job. */
char *opcode_common_key(const json_t *input);

/* The job of the member "key"; NULL when there is none. */
struct state_job *opcode_common_find(const struct opcode_ref *ref);

/* Who asks: the user, or UNSECURE. */
const char *opcode_common_user(const struct opcode_ref *ref);
