# SPDX-License-Identifier: Apache-2.0
"""CLUSTERS: the clusters that the client knows, read when first asked for.

Contract: aurora.md 1.7.
"""

import json
import os


class Cluster(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Clusters:
    class Error(Exception):
        pass

    class ClusterNotFound(Error, KeyError):
        pass

    def __init__(self):
        self._clusters = None

    def _load(self):
        if self._clusters is None:
            self._clusters = {}
            root = os.environ.get("AURORA_CONFIG_ROOT", "/etc/aurora")
            for path in (os.path.join(root, "clusters.json"),
                         os.path.expanduser("~/.aurora/clusters.json")):
                try:
                    with open(path) as fp:
                        data = json.load(fp)
                except FileNotFoundError:
                    continue
                for each in data.values() if isinstance(data, dict) else data:
                    if "name" in each:
                        self._clusters[each["name"]] = Cluster(each)
        return self._clusters

    def __getitem__(self, name):
        try:
            return self._load()[name]
        except KeyError:
            raise self.ClusterNotFound("Unknown cluster %s" % name) from None

    def __contains__(self, name):
        return name in self._load()

    def __iter__(self):
        return iter(self._load().values())

    def keys(self):
        return self._load().keys()

    def values(self):
        return self._load().values()

    def items(self):
        return self._load().items()


CLUSTERS = Clusters()
