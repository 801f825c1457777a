/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "client/clusters.h"

#include <uv.h>

/* Asks a master that has just started until it knows that many live nodes: an agent that
 * has registered is not one yet on which the master places tasks. */
struct upnodes;

typedef void (*upnodes_cb)(void *data);

/* cluster is borrowed until the close.  known fires once, later, from the loop. */
int upnodes_start(uv_loop_t *loop, const struct cluster *cluster, int n_nodes, upnodes_cb known,
                  void *data, struct upnodes **ret_upnodes, struct err *err);

/* Ends it, also before it has fired; closed when all of it is gone. */
void upnodes_close(struct upnodes *upnodes, upnodes_cb closed, void *data);
