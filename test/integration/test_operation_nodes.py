# SPDX-License-Identifier: Apache-2.0
"""Operation hooks on nodes, through their agents, in a whole cluster."""
import uuid

from cluster import Cluster
from servers import wait_until


def job(name, instances):
    return {"cluster": "devcluster", "role": "root", "environment": "devel", "name": name,
            "instances": instances, "service": True,
            "task": {"name": name, "processes": [{"name": "p", "cmdline": "sleep 300"}],
                     "resources": {"cpu": 0.01, "ram": 1048576, "disk": 1048576}}}


def run(cluster, opcode):
    doc = cluster.api("POST", "/v1/operations",
                      {"id": str(uuid.uuid4()), "user": "root", "opcodes": [opcode]})

    def over():
        found = cluster.api("GET", f"/v1/operations/{doc['id']}?wait=5000")
        return found if "ended_ms" in found else None
    return wait_until("the operation's end", over, 60)


def hook(directory, event, text):
    path = directory / event / "10-note"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_nodes_of_a_job_get_its_hooks_after_the_master_and_may_veto(tmp_path):
    with Cluster(tmp_path / "up") as cluster:
        note = tmp_path / "notes"
        node = cluster.dir / "nodes" / "node1" / "hooks"
        where = "${GANETI_IS_MASTER:--} $GANETI_HOOKS_PATH $GANETI_HOOKS_PHASE $GANETI_POST_STATUS"
        for directory, name in ((cluster.dir / "hooks", "M"), (node, "N")):
            for event in ("global-pre.d", "job-kill-pre.d", "job-kill-post.d", "global-post.d"):
                hook(directory, event, f'echo "{name} {where}" >> {note}\n')
        done = run(cluster, {"op": "OP_JOB_CREATE", "job": job("hooked", 1)})
        assert done["state"] == "succeeded", done
        key = "devcluster/root/devel/hooked"
        cluster.wait_state(key, "RUNNING", 1)
        note.unlink()

        hook(node, "job-kill-pre.d", "echo not now; exit 1\n")
        done = run(cluster, {"op": "OP_JOB_KILL", "key": key})
        assert done["state"] == "failed", done
        assert "not now" in done["opcodes"][0]["error"]
        assert len(cluster.tasks(key, active=True)) == 1

        hook(node, "job-kill-pre.d", f'echo "N {where}" >> {note}\n')
        note.unlink()
        done = run(cluster, {"op": "OP_JOB_KILL", "key": key})
        assert done["state"] == "succeeded", done
        assert [line.rstrip() for line in note.read_text().splitlines()] == [
            "M master global pre", "N not_master global pre",
            "M - job-kill pre", "N - job-kill pre",
            "M - job-kill post", "N - job-kill post",
            "M master global post succeeded", "N not_master global post succeeded"]
