# SPDX-License-Identifier: Apache-2.0
"""Where tasks can be reached and how long they have been up: job endpoints, sla, job status,
job inspect, job open.  Contract: aurora.md 1.4-1.6, 1.9, 4.12."""
import json
import re
import urllib.request

import pytest
from kazoo.client import KazooClient

from cluster import Cluster, USER
from servers import wait_until

CONFIG = """
import getpass

def job(name, cmd='exec sleep 1000', cls=Service, **kw):
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               task=Task(name='t', processes=[Process(name='main', cmdline=cmd)],
                         resources=Resources(cpu=0.5, ram=1*MB, disk=2*MB), finalization_wait=2),
               **kw)

PORTS = 'echo {{thermos.ports[http]}} {{thermos.ports[admin]}} {{thermos.ports[web]}}; exec sleep 1000'
jobs = [
    job('plain'),
    job('found', PORTS, instances=2, metadata=[Metadata(key='team', value='infra')],
        constraints={'host': 'limit:2', 'zone': '!a,b'}, priority=3, contact='a@b.c',
        announce=Announcer(primary_port='http', portmap={'aurora': 'http', 'web': 'http'})),
    job('never', 'exec sleep 1000', cls=Job, announce=Announcer(), constraints={'rack': 'x'}),
    job('short', 'exit 0', cls=Job),
    job('fixed', 'echo {{thermos.ports[http]}} {{thermos.ports[web]}}; exec sleep 1000',
        constraints={'dedicated': '%s/public' % getpass.getuser()},
        announce=Announcer(primary_port='http', portmap={'http': '8080', 'web': 'http'})),
    job('late', announce=Announcer(), health_check_config=HealthCheckConfig(
        health_checker=HealthCheckerConfig(shell=ShellHealthChecker(
            shell_command='test -e GATE')), initial_interval_secs=120, interval_secs=0.1)),
]
"""

INSPECTED = """
procs = [Process(name='a', cmdline='echo 1\\n  echo {{thermos.ports[http]}}'),
         Process(name='b', cmdline='x', daemon=True, ephemeral=True),
         Process(name='c', cmdline='y'), Process(name='end', cmdline='z', final=True)]
jobs = [Job(cluster='c', role='www', environment='prod', name='web', contact='a@b.c', instances=3,
            cron_schedule='* * * * *', constraints={'host': 'limit:1'}, tier='preferred',
            partition_policy=PartitionPolicy(delay_secs=5), production=True,
            task=Task(name='t', processes=procs, constraints=order('a', 'c'),
                      resources=Resources(cpu=1.5, ram=64*MB, disk=64*MB)))]
"""
TEXT = """Job level information
  name:       'web'
  role:       'www'
  contact:    'a@b.c'
  cluster:    'c'
  instances:  '3'
  cron:
    schedule: '* * * * *'
    policy:   'KILL_EXISTING'
  constraints:
    'host': 'limit:1'
  partition_policy:
    reschedule: 'True'
    delay_secs: '5'
  service:    False
  production: True

Task level information
  name: 't'
  constraints:
    a < c

Process 'a':
  cmdline:
    echo 1
      echo {{thermos.ports[http]}}

Process 'b':
  daemon
  ephemeral
  cmdline:
    x

Process 'c':
  cmdline:
    y

Process 'end':
  final
  cmdline:
    z

"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    options = ["--node-attribute", f"node2:dedicated={USER}/public"]
    with Cluster(directory / "up", nodes=2, options=options) as c:
        (c.dir / "jobs.aurora").write_text(CONFIG.replace("GATE", str(c.dir / "gate")))
        for name in ("plain", "found"):
            c.davit("job", "create", c.key(name), c.dir / "jobs.aurora", "--wait-until", "RUNNING")
        yield c


@pytest.fixture
def zk(cluster):
    """As any client of the service: it has no password."""
    ports = json.loads((cluster.dir / "up.json").read_text())["ports"]
    client = KazooClient(hosts=f"127.0.0.1:{ports['store']}")
    client.start()
    yield client
    client.stop()
    client.close()


def folder(name):
    return f"/aurora/{USER}/devel/{name}"


def announced(zk, name):
    members = [json.loads(zk.get(f"{folder(name)}/{each}")[0])
               for each in zk.get_children(folder(name))]
    return sorted(members, key=lambda member: member["shard"])


def test_members_and_endpoints_say_the_same(cluster, zk):
    wait_until("two members", lambda: zk.exists(folder("found")) and
               len(zk.get_children(folder("found"))) == 2)
    key = cluster.key("found")
    members = announced(zk, "found")
    tasks = sorted(cluster.tasks(key), key=lambda task: task["instance"])
    for member, task in zip(members, tasks):
        http, admin = ({"host": "127.0.0.1", "port": task["ports"][name]}
                       for name in ("http", "admin"))
        assert sorted(task["ports"]) == ["admin", "http"]
        assert member == {"serviceEndpoint": http, "status": "ALIVE", "shard": task["instance"],
                          "additionalEndpoints": {"http": http, "admin": admin, "aurora": http,
                                                  "web": http}}
        said = cluster.davit("task", "logs", f"{key}/{task['instance']}").stdout
        assert f"{http['port']} {admin['port']} {http['port']}" in said  # {{thermos.ports[web]}}
    found = json.loads(cluster.davit("job", "endpoints", key, "--json").stdout)
    for each, task in zip(found, tasks):
        assert each.pop("taskId") == task["id"]
    assert found == members
    table = cluster.davit("job", "endpoints", key).stdout.splitlines()
    assert table[0].split() == ["INSTANCE", "ENDPOINT", "ADDITIONAL"] and len(table) == 3
    where = f"127.0.0.1:{tasks[1]['ports']['http']}"
    assert table[2].split()[:2] == ["1", where] and f"aurora={where}" in table[2]


def test_a_static_port_and_its_alias(cluster, zk):
    key = cluster.key("fixed")
    cluster.davit("job", "create", key, cluster.dir / "jobs.aurora", "--wait-until=RUNNING")
    wait_until("a member", lambda: zk.exists(folder("fixed")) and announced(zk, "fixed"))
    task = cluster.tasks(key)[0]
    assert task["node"] == "node2" and task["ports"] == {}
    where = {"host": "127.0.0.1", "port": 8080}
    member = {"serviceEndpoint": where, "status": "ALIVE", "shard": 0,
              "additionalEndpoints": {"http": where, "web": where}}
    assert announced(zk, "fixed") == [member]
    assert json.loads(cluster.davit("job", "endpoints", key, "--json").stdout) == [
        dict(member, taskId=task["id"])]
    wait_until("its line", lambda: cluster.davit("task", "logs", f"{key}/0").stdout == "8080 8080\n")
    cluster.davit("job", "killall", key)


def test_only_a_healthy_task_is_announced(cluster, zk):
    key = cluster.key("late")
    cluster.davit("job", "create", key, cluster.dir / "jobs.aurora")
    cluster.wait_state(key, "STARTING", 1)
    assert not zk.exists(folder("late"))
    assert json.loads(cluster.davit("job", "endpoints", key, "--json").stdout) == []
    (cluster.dir / "gate").touch()
    cluster.wait_state(key, "RUNNING", 1)
    wait_until("a member", lambda: zk.exists(folder("late")) and announced(zk, "late"))
    cluster.davit("job", "killall", key)
    assert announced(zk, "late") == []


def test_what_is_not_announced_has_no_endpoints(cluster, zk):
    assert not zk.exists(folder("plain"))
    assert "member" not in cluster.tasks(cluster.key("plain"))[0]
    done = cluster.davit("job", "endpoints", cluster.key("plain"), check=False)
    assert done.returncode == 6 and "is not announced" in done.stderr
    done = cluster.davit("job", "endpoints", cluster.key("nobody"), check=False)
    assert done.returncode == 6 and done.stderr.strip().endswith("nobody not found")


def test_sla(cluster):
    key = cluster.key("found")
    lines = cluster.davit("sla", "get-task-up-count", key).stdout.splitlines()
    assert lines == [f"{each}\t- 0.00 %" for each in ("1 mins", "10 mins", "1 hrs", "12 hrs",
                                                      "7 days")]
    lines = cluster.davit("sla", "get-task-up-count", key, "--durations", "1h30m,0s").stdout
    assert lines == "0 secs\t- 100.00 %\n90 mins\t- 0.00 %\n"
    lines = cluster.davit("sla", "get-job-uptime", key).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        f"{p}.0 percentile" for p in (99, 95, 90, 85, 75, 60, 50, 30, 10)]
    assert all(re.fullmatch(r"\d+\.\d percentile\t- \d+\.0 seconds", line) for line in lines)
    two = json.loads(cluster.davit("sla", "get-job-uptime", key, "--percentiles", "99.9,10",
                                   "--json").stdout)
    assert [row["percentile"] for row in two] == [99.9, 10] and \
        two[0]["uptime_secs"] <= two[1]["uptime_secs"]


@pytest.mark.parametrize("args, message", [
    (["get-task-up-count", "--durations", "5x"], "Invalid time value: '5x'"),
    (["get-task-up-count", "--durations", "1m1h"], "Invalid time value: '1m1h'"),
    (["get-task-up-count", "--durations", "1m,"], "Invalid time value: ''"),
    (["get-job-uptime", "--percentiles", "0"], "Invalid percentile value: '0'"),
    (["get-job-uptime", "--percentiles", "nan"], "Invalid percentile value: 'nan'"),
    (["get-job-uptime", "--percentiles", "100"], "Invalid percentile value: '100'"),
])
def test_bad_sla_arguments(cluster, args, message):
    done = cluster.davit("sla", *args, cluster.key("found"), check=False)
    assert done.returncode == 2 and message in done.stderr and "usage: davit sla" in done.stderr


def test_sla_of_nobody(cluster):
    for verb in ("get-task-up-count", "get-job-uptime"):
        done = cluster.davit("sla", verb, cluster.key("nobody"), check=False)
        assert done.returncode == 6 and "not found" in done.stderr


def test_status_text(cluster):
    lines = cluster.davit("job", "status", cluster.key("found")).stdout.splitlines()
    assert lines[0] == "Active tasks (2):"
    task = next(t for t in cluster.tasks(cluster.key("found")) if t["instance"] == 0)
    assert lines[1] == (f"\tTask role: {USER}, env: devel, name: found, instance: 0, "
                        f"status: RUNNING on {task['host']}")
    assert lines[2] == "\t  CPU: 0.5 core(s), RAM: 1 MB, Disk: 2 MB, Port: admin, http"
    assert re.fullmatch(r"\t  assigned ports: \{'admin': \d+, 'http': \d+\}", lines[3])
    assert lines[4] == "\t  failure count: 0 (max 1)"
    assert lines[5] == "\t  events:"
    assert re.fullmatch(r"\t   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d PENDING:.*", lines[6])
    at = lines.index("\t  metadata:")
    assert lines[at + 1] == "\t   (key: 'team', value: 'infra')"
    assert lines[-1] == "Inactive tasks (0):"


def test_status_json(cluster):
    rows = json.loads(cluster.davit("job", "status", cluster.key("found"), "--write-json").stdout)
    task = rows[0]["active"][0]
    assert rows[0]["job"] == cluster.key("found") and rows[0]["inactive"] == []
    assert task["status"] == "RUNNING" and task["failureCount"] == 0
    assigned = task["assignedTask"]
    assert assigned["instanceId"] == 0 and sorted(assigned["assignedPorts"]) == ["admin", "http"]
    config = assigned["task"]
    assert config["job"] == {"role": USER, "environment": "devel", "name": "found"}
    assert config["priority"] == 3 and config["contactEmail"] == "a@b.c" and config["isService"]
    assert sorted(config["constraints"], key=lambda c: c["name"]) == [
        {"name": "host", "constraint": {"limit": {"limit": 2}}},
        {"name": "zone", "constraint": {"value": {"negated": True, "values": ["a", "b"]}}}]
    assert {"numCpus": 0.5} in config["resources"] and {"namedPort": "http"} in config["resources"]
    assert {"timestamp", "status", "scheduler"} <= set(task["taskEvents"][0])
    assert {"timesPartitioned", "taskEvents"} <= set(task)


def test_status_says_why_one_waits(cluster):
    key = cluster.key("never")
    cluster.davit("job", "create", key, cluster.dir / "jobs.aurora")
    wait_until("a reason", lambda: cluster.tasks(key)[0].get("reason"))
    text = cluster.davit("job", "status", key).stdout
    assert "status: PENDING on None\n" in text
    assert "\t  pending reason: Constraint not satisfied: rack\n" in text
    cluster.davit("job", "killall", key)


def test_inspect(cluster, tmp_path):
    file = tmp_path / "web.aurora"
    file.write_text(INSPECTED)
    args = ("job", "inspect", "c/www/prod/web")
    assert cluster.davit(*args, file).stdout == TEXT
    whole = json.loads(cluster.davit(*args, file, "--write-json").stdout)
    assert whole["task"]["max_failures"] == 1 and whole["instances"] == 3
    again = tmp_path / "web.json"
    again.write_text(json.dumps(whole))
    assert cluster.davit(*args, again, "--read-json").stdout == TEXT
    assert json.loads(cluster.davit(*args, again, "--read-json", "--json").stdout) == whole
    raw = cluster.davit(*args, file, "--raw").stdout
    assert raw.startswith("JobConfiguration(key=JobKey(role='www', environment='prod', name='web')")
    assert "instanceCount=3" in raw and "LimitConstraint(limit=1)" in raw
    bound = cluster.davit(*args, file, "--bind", "x=1")
    assert bound.stdout == TEXT
    bad = cluster.davit("job", "inspect", "c/www/prod/other", file, check=False)
    assert bad.returncode == 3 and "Could not find job c/www/prod/other" in bad.stderr


def test_open(cluster, tmp_path):
    base = json.loads((cluster.dir / "clusters.json").read_text())[0]["scheduler_uri"]
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {seen}\n')
    browser.chmod(0o755)
    env = {**cluster.env, "BROWSER": f"/no/such/browser:{browser} --new %s"}
    key = cluster.key("found")
    env.pop("DISPLAY", None)

    def run(spec, environment):
        import subprocess
        from servers import build_dir
        return subprocess.run([build_dir() / "src/cli/davit", "job", "open", spec], text=True,
                              env=environment, capture_output=True, timeout=30)

    done = run(key, env)
    url = f"{base}/scheduler/{USER}/devel/found"
    assert (done.returncode, done.stdout) == (0, "") and seen.read_text() == f"--new|{url}|"
    without = {name: value for name, value in env.items() if name not in (
        "BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}
    assert run(key, without).stdout == url + "\n"
    assert run("devcluster", without).stdout == f"{base}/scheduler\n"
    assert run("devcluster/a b", without).stdout == f"{base}/scheduler/a%20b\n"
    assert run("nocluster", without).returncode == 3
    assert run("a/b/c/d/e", without).returncode == 2
    for path in ("", f"/{USER}", f"/{USER}/devel", f"/{USER}/devel/found", f"/{USER}/devel/found/0",
                 f"/{USER}/devel/found/update/1-2", "/a%20b"):
        with urllib.request.urlopen(f"{base}/scheduler{path}", timeout=10) as answer:
            text = answer.read().decode()
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert "davit cluster devcluster" in text and "\x1b" not in text
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert f"davit job status '{key}'" in answer.read().decode()


def test_open_browser_of_verbs_that_change_something(cluster, tmp_path):
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {seen}\n')
    browser.chmod(0o755)
    base = json.loads((cluster.dir / "clusters.json").read_text())[0]["scheduler_uri"]
    key = cluster.key("short")
    file = cluster.dir / "jobs.aurora"
    before = cluster.env.get("BROWSER")
    cluster.env["BROWSER"] = str(browser)
    try:
        cluster.davit("job", "create", key, file, "--open-browser", "--wait-until=FINISHED")
        cluster.davit("job", "create", key, file, "--open-browser", check=False)
        cluster.davit("job", "create", cluster.key("nobody"), file, "--open-browser", check=False)
        cluster.davit("job", "kill", cluster.key("plain") + "/0", "--open-browser")
        cluster.davit("job", "status", key)
    finally:
        cluster.env.pop("BROWSER")
        if before is not None:
            cluster.env["BROWSER"] = before
    urls = seen.read_text().split()
    assert urls[0] == f"{base}/scheduler/{USER}/devel/short"
    assert urls[-1] == f"{base}/scheduler/{USER}/devel/plain"


def test_members_go_with_their_tasks(cluster, zk):
    key = cluster.key("found")
    cluster.davit("job", "kill", f"{key}/1")
    assert [member["shard"] for member in announced(zk, "found")] == [0]
    assert len(json.loads(cluster.davit("job", "endpoints", key, "--json").stdout)) == 1
    cluster.davit("job", "killall", key)
    assert announced(zk, "found") == []
    assert cluster.davit("job", "endpoints", key).stdout.split() == ["INSTANCE", "ENDPOINT",
                                                                     "ADDITIONAL"]
