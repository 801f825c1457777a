/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stddef.h>

/* One entry of clusters.json: where a cluster's master is. */
struct cluster {
    char *name;
    char *uri;          /* "http://host:port", no slash at the end */
    char *socket;       /* Unix socket of a master on this machine, or NULL */
    char *token_file;   /* or NULL */
    char *zk;           /* "host:port,host:port" of its ZooKeeper, or NULL: uri says where it is */
    char *zk_path;      /* Where its masters stand for election there */
    char *zk_auth_file; /* "user:password" for it, or NULL */
    char *web;          /* What URLs printed for people start with: proxy_url, else uri */
};

struct clusters;

/* Reads, in this order, and a later file's entry wins over an earlier one's of the
 * same name; files that are absent are nothing:
 *   $XDG_STATE_HOME/davit/clusters.json       (written by `davit up`)
 *   $AURORA_CONFIG_ROOT/clusters.json         (default /etc/aurora)
 *   ~/.aurora/clusters.json
 *   $XDG_CONFIG_HOME/davit/clusters.json
 * Content as the Aurora client's: a list of objects, or an object of objects;
 * entries without `name` are ignored.  ERR_CONFIG for a file that is not that. */
int clusters_load(struct clusters **ret_clusters, struct err *err);
void clusters_free(struct clusters *clusters);
DEFINE_FREEP(struct clusters, clusters_free)

/* The uri of a cluster with zk, once its leader was found at "host:port". */
void clusters_set_address(struct clusters *clusters, const char *name, const char *address);

size_t clusters_count(const struct clusters *clusters);
const struct cluster *clusters_at(const struct clusters *clusters, size_t index);

/* Borrowed.  ERR_CONFIG "Unknown cluster: X", or what the entry lacks. */
int clusters_find(const struct clusters *clusters, const char *name,
                  const struct cluster **ret_cluster, struct err *err);
