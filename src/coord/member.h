/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "coord/zk.h"

/* An ephemeral node kept in place: made again after each new session, or when someone removes it.
 */
struct member;

/* Each time the node is in place (err->code 0, path its real one), and at each failure before
 * another attempt is made.  err->code ERR_EXISTS: another live session holds the path. */
typedef void (*member_cb)(struct member *member, const char *path, const struct err *err,
                          void *data);
typedef void (*member_closed_cb)(void *data);

/* flags: 0 or ZK_SEQUENCE.  Parents are made when missing.  cb may be NULL. */
void member_start(struct zk *zk, const char *path, const void *bytes, size_t len, int flags,
                  member_cb cb, void *data, struct member **ret_member);

/* Replaces what the node says. */
void member_set(struct member *member, const void *bytes, size_t len);

/* Deletes the node, frees the member, then cb (may be NULL). */
void member_close(struct member *member, member_closed_cb cb, void *data);
