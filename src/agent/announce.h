/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/intent.h"
#include "coord/zk.h"

#include <stdbool.h>

/* ServerSet members of this node's running tasks: "<root>/<role>/<env>/<job>/member_NNNNNNNNNN",
 * as Aurora's executor kept them. */
struct announcer;
struct announce; /* one task's */

struct announcer_options {
    struct zk *zk;
    const char *root; /* "/aurora" */
    const char *host; /* in every member; NULL: what each manifest says */
    bool custom_path; /* a job's announce.zk_path counts */
};

/* "/a/b": an absolute path of the store, of at least one part, that is nobody else's? */
bool announce_path_ok(const char *path);

/* Borrows the options' pointers for its life. */
void announcer_new(const struct announcer_options *options, struct announcer **ret_all);

/* Does any task have its member? */
bool announcer_any(const struct announcer *all);

/* Leaves the store as it is, frees all, then cb. */
void announcer_close(struct announcer *all, void (*cb)(void *data), void *data);

/* Keeps a member for this intent's task (it has an `announce`) from now on, for as long as it
 * takes.  note_file remembers its node for a later agent.  look: a former agent may have left one
 * of ours, which the new one takes the place of. */
void announce_start(struct announcer *all, const struct intent *intent, const char *note_file,
                    bool look, struct announce **ret_announce);

/* The member is taken out and the announce freed.  cb (may be NULL) fires once: when it is out,
 * or after 2 s; without a connection after 0.5 s, and it goes on in the background.  Called again
 * before that it only replaces cb. */
typedef void (*announce_cb)(void *data);
void announce_leave(struct announce *announce, announce_cb cb, void *data);

/* Frees it and leaves the store as it is. */
void announce_drop(struct announce *announce);

/* The member's path; NULL while there is none.  And why not, NULL when that is not known. */
const char *announce_node(const struct announce *announce);
const char *announce_problem(const struct announce *announce);
