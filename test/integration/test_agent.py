# SPDX-License-Identifier: Apache-2.0
"""davit-agent with a real store and real davit-pods; this test plays the master.

Intents are written as docs/architecture.md has them, reality is read back.
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import uuid

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

import servers
from servers import wait_until

AGENT = servers.build_dir() / "src" / "agent" / "davit-agent"
VARIABLES = ["HOOK", "HOOK_EVENT", "HOOKED_NODE", "HOOKED_POD_ID", "HOOKED_POD_HOME",
             "HOOKED_POD_MANIFEST", "HOOKED_CONFIG_PATH", "HOOKED_ENV_PATH",
             "HOOKED_CONFIG_DIR_PATH", "HOOKED_SYSTEM_POD_ROOT", "HOOKED_POD_UNIQUE_KEY",
             "HOOKED_POD_READ_ONLY"]
EVENTS = ["before_install", "after_install", "before_launch", "after_launch", "before_uninstall"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with servers.davit_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def zk(store):
    client = KazooClient(hosts=store.address)
    client.start()
    yield client
    client.stop()
    client.close()


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def pids_with(text):
    """Live processes whose environment or command line has this text."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            data = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in data and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("agent", timeout=30)
        self.path = str(path)

    def connect(self):
        # sun_path is short; pytest's directories may be long.
        directory = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(self.path)}")
        finally:
            os.close(directory)


class Node:
    """One node: an agent that can be killed and started again, and its intents."""

    def __init__(self, directory, store, zk, name=None, options=()):
        self.name = name or f"n-{uuid.uuid4().hex[:8]}"
        self.dir = pathlib.Path(directory) / self.name
        self.store = store
        self.zk = zk
        self.options = list(options)
        self.hooks = self.dir / "p2hooks.d"
        self.op_hooks = self.dir / "hooks"
        self.pod_root = self.dir / "pods"
        self.process = None
        self.env = dict(os.environ)
        self.hooks.mkdir(parents=True)
        self.op_hooks.mkdir()
        zk.ensure_path(f"/davit/intent/{self.name}")

    def start(self):
        reader, writer = os.pipe()
        with open(self.dir / "agent.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(AGENT), "--node", self.name, "--dir", str(self.dir), "--zk",
                 self.store.address, "--hooks-dir", str(self.op_hooks), "--node-hooks-dir",
                 str(self.hooks), "--zk-timeout-ms", "4000", "--ready-fd", str(writer),
                 *self.options],
                pass_fds=[writer], stdout=log, stderr=log, env=self.env)
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            assert ready.read(1) == b"\n", self.log()
        return self

    def log(self):
        return (self.dir / "agent.log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self, seconds=20):
        self.process.terminate()
        return self.process.wait(seconds)

    def call(self, method, path, body=None):
        connection = UnixConnection(self.dir / "agent.sock")
        data = json.dumps(body) if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json"})
        return connection.getresponse()

    def get(self, path):
        response = self.call("GET", path)
        return response.status, json.loads(response.read())

    def manifest(self, pod, processes, desired="running", extra="", wait_s=2, task=""):
        lines = "".join(
            f"        - name: {name}\n          cmdline: {json.dumps(cmd)}\n"
            f"          min_duration: 0\n{more}" for name, cmd, more in processes)
        return (f"id: {pod}\nrun_as: root\nlaunchables:\n  task:\n"
                "    launchable_type: davit/task\nconfig:\n  davit:\n"
                "    job: devcluster/root/devel/hello\n    instance: 0\n    op_id: op-create\n"
                f"    desired: {desired}\n{extra}    ports: {{http: 31004}}\n"
                "    hostname: here\n"
                "    resources: {cpu: 0.1, ram_bytes: 67108864, disk_bytes: 67108864}\n"
                "    task:\n      name: hello\n      processes:\n" + lines + task +
                f"      finalization_wait: {wait_s}\n")

    def pod(self, label="t"):
        return f"root-devel-{label}-0-{uuid.uuid4()}"

    def intend(self, pod, text):
        path = f"/davit/intent/{self.name}/{pod}"
        if self.zk.exists(path):
            self.zk.set(path, text.encode())
        else:
            self.zk.create(path, text.encode(), makepath=True)

    def launch(self, *processes, label="t", **more):
        pod = self.pod(label)
        self.intend(pod, self.manifest(pod, processes, **more))
        return pod

    def ask_stop(self, pod, processes):
        extra = "    stop_op_id: op-kill\n    stop_reason: Killed by root\n"
        self.intend(pod, self.manifest(pod, processes, desired="stopped", extra=extra))

    def drop(self, pod):
        self.zk.delete(f"/davit/intent/{self.name}/{pod}")

    def reality(self, pod):
        shard = 2166136261
        for byte in pod.encode():
            shard = (shard ^ byte) * 16777619 & 0xffffffff
        try:
            data, _ = self.zk.get(f"/davit/reality/{self.name}/{shard % 16}")
        except NoNodeError:
            return None
        return json.loads(data)["pods"].get(pod)

    def state(self, pod):
        return (self.reality(pod) or {}).get("state")

    def wait_state(self, pod, *states, seconds=15):
        return wait_until(f"pod {pod} is {states} (is {self.reality(pod)})\n{self.log()[-2000:]}",
                          lambda: self.state(pod) in states and self.reality(pod), seconds)

    def wait_forgotten(self, pod, seconds=15):
        wait_until(f"pod {pod} is forgotten",
                   lambda: self.reality(pod) is None and not (self.pod_root / pod).exists(), seconds)

    def hook(self, name, text, event=None, mode=0o755):
        path = (self.hooks / event if event else self.hooks) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(mode)
        return path

    def pod_pid(self, pod):
        return json.loads((self.pod_root / pod / "state.json").read_text())["pid"]

    def clean_up(self):
        """Nothing may be left running, whatever the test did."""
        if self.process and self.process.poll() is None:
            self.kill()
        for pid in pids_with(str(self.pod_root)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def make_node(tmp_path, store, zk):
    nodes = []

    def make(**options):
        nodes.append(Node(tmp_path, store, zk, **options))
        return nodes[-1]

    yield make
    for one in nodes:
        one.clean_up()


@pytest.fixture
def node(make_node):
    return make_node().start()


SLEEP = ("main", "exec sleep 1000", "")


def test_registers_what_it_offers(make_node, zk):
    node = make_node(options=["--cpus", "3.5", "--ram-bytes", "1000000", "--disk-bytes", "5000",
                              "--ports", "31500-31600", "--attribute", "rack=a"]).start()
    path = f"/davit/nodes/{node.name}/alive"
    wait_until("registered", lambda: zk.exists(path))
    data, stat = zk.get(path)
    alive_doc = json.loads(data)
    assert stat.ephemeralOwner != 0
    assert alive_doc["resources"] == {"cpu": 3.5, "ram_bytes": 1000000, "disk_bytes": 5000,
                                      "ports": [31500, 31600]}
    assert alive_doc["attributes"]["rack"] == "a"
    assert alive_doc["pid"] == node.process.pid
    host, port = alive_doc["address"].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.request("GET", "/v1/status")
    status = json.loads(connection.getresponse().read())
    assert status["node"] == node.name and status["store"] == "connected"
    assert node.stop() == 0
    wait_until("gone", lambda: not zk.exists(path))


def test_launches_reports_and_removes(node):
    pod = node.launch(SLEEP)
    entry = node.wait_state(pod, "running")
    assert entry["processes"]["main"]["state"] == "running"
    home = node.pod_root / pod
    assert oct(home.stat().st_mode)[-3:] == "755"
    assert (home / "current_manifest.yaml").read_text() == node.manifest(pod, [SLEEP])
    pid = node.pod_pid(pod)
    assert node.get(f"/v1/pods/{pod}")[1]["state"] == "running"
    node.ask_stop(pod, [SLEEP])
    entry = node.wait_state(pod, "killed")
    assert entry["reason"] == "Killed by root"
    wait_until("davit-pod is gone", lambda: not alive(pid))
    assert home.exists()  # until the master has recorded the end
    node.drop(pod)
    node.wait_forgotten(pod)
    assert pids_with(pod) == []


def test_finished_and_failed_are_told_apart(node):
    good = node.launch(("main", "true", ""))
    bad = node.launch(("main", "exit 3", ""))
    assert node.wait_state(good, "finished")["processes"]["main"]["exit"] == 0
    assert node.wait_state(bad, "failed")["processes"]["main"]["exit"] == 3
    for pod in (good, bad):
        node.drop(pod)
        node.wait_forgotten(pod)


def test_hooks_of_all_events_with_their_12_variables(make_node):
    node = make_node()
    out = node.dir / "out"
    out.mkdir()
    # Exactly these variables: `env` in an empty environment tells what sh itself adds.
    node.hook("00-all", f'/usr/bin/env -0 > {out}/$HOOK_EVENT.env\n'
              f'[ -z "$HOOKED_POD_MANIFEST" ] || /bin/cat "$HOOKED_POD_MANIFEST" > '
              f'{out}/$HOOK_EVENT.manifest\n/bin/cat /proc/self/cgroup > {out}/$HOOK_EVENT.cgroup\n'
              f'echo all $HOOK_EVENT >> {out}/order\n'
              f'[ -e "$HOOKED_POD_HOME" ] && echo home $HOOK_EVENT >> {out}/homes\n'
              f'[ -e "$HOOKED_CONFIG_PATH" ] && [ -e "$HOOKED_ENV_PATH/POD_ID" ] && '
              f'echo $HOOK_EVENT >> {out}/configs\ntrue\n')
    node.hook("zz-typed", f"echo typed $HOOK_EVENT >> {out}/order\n", event="before_launch")
    node.hook("99-fails", "exit 7\n")
    node.start()
    pod = node.launch(SLEEP)
    node.wait_state(pod, "running")
    wait_until("after_launch ran", lambda: (out / "after_launch.env").exists())
    node.ask_stop(pod, [SLEEP])
    node.wait_state(pod, "killed")
    node.drop(pod)
    node.wait_forgotten(pod)
    order = (out / "order").read_text().split("\n")[:-1]
    assert order == ["all before_install", "all after_install", "typed before_launch",
                     "all before_launch", "all after_launch", "all before_uninstall"]
    homes = (out / "homes").read_text().split()[1::2]
    assert homes == EVENTS[1:]  # no home yet at the first event, still there at the last
    home = node.pod_root / pod
    for event in EVENTS:
        env = dict(item.split("=", 1)
                   for item in (out / f"{event}.env").read_text().split("\0") if item)
        for name in ("PWD", "SHLVL", "_", "OLDPWD"):
            env.pop(name, None)
        # Only where no cgroup holds the run does a variable have to mark it (base/tree.h).
        in_group = "davit-" in (out / f"{event}.cgroup").read_text()
        assert sorted(env) == sorted([*VARIABLES, *([] if in_group else ["DAVIT_RUN"])])
        env.pop("DAVIT_RUN", None)
        assert env["HOOK"] == "p2hooks.d"
        assert env["HOOK_EVENT"] == event
        assert env["HOOKED_NODE"] == node.name
        assert env["HOOKED_POD_ID"] == pod
        assert env["HOOKED_POD_HOME"] == str(home)
        assert env["HOOKED_ENV_PATH"] == str(home / "env")
        assert env["HOOKED_CONFIG_DIR_PATH"] == str(home / "config")
        assert env["HOOKED_CONFIG_PATH"].startswith(str(home / "config" / f"{pod}_"))
        assert env["HOOKED_SYSTEM_POD_ROOT"] == str(node.pod_root)
        assert env["HOOKED_POD_UNIQUE_KEY"] == ""
        assert env["HOOKED_POD_READ_ONLY"] == "false"
        assert not os.path.exists(env["HOOKED_POD_MANIFEST"])
        assert (out / f"{event}.manifest").read_text().startswith(f"id: {pod}\n")
    configs = (out / "configs").read_text().split()
    assert configs == EVENTS[1:]  # each of them found its config file
    records = node.get("/v1/hook-runs?limit=100")[1]["items"]
    assert [r["event"] for r in records if r["hook"] == "00-all"] == EVENTS
    assert {r["outcome"] for r in records if r["hook"] == "99-fails"} == {"failed"}
    assert {r["level"] for r in records} == {"node"}
    assert {r["job"] for r in records} == {"devcluster/root/devel/hello"}
    by_op = node.get("/v1/hook-runs?op=op-kill")[1]["items"]
    assert {r["event"] for r in by_op} == {"before_uninstall"}
    assert len(node.get("/v1/hook-runs?failed=true")[1]["items"]) == len(EVENTS)


def test_without_hooks_nothing_is_journalled(node):
    pod = node.launch(("main", "true", ""))
    node.wait_state(pod, "finished")
    assert node.get("/v1/hook-runs")[1]["items"] == []


def test_required_hook_blocks_until_it_passes(make_node):
    node = make_node(options=["--hooks-required", "gate"])
    ok = node.dir / "ok"
    node.hook("gate", f"[ $HOOK_EVENT != before_launch ] || [ -e {ok} ]\n")
    node.start()
    pod = node.launch(SLEEP)
    wait_until("blocked", lambda: "gate" in (node.reality(pod) or {}).get("reason", ""))
    assert node.state(pod) == "installing"
    ok.touch()
    node.wait_state(pod, "running", seconds=20)


def test_slow_hook_past_term_goes_on(make_node):
    """The deadline of a directory stands in for the 30 s, so that the test is short."""
    node = make_node()
    (node.hooks / "before_launch").mkdir()
    marker = node.dir / "slow-pid"
    node.hook("slow", f"trap '' TERM\necho $$ > {marker}\nwhile :; do sleep 0.1; done\n",
              event="before_launch")
    (node.hooks / "before_launch" / ".deadline").write_text("1\n")
    node.start()
    pod = node.launch(SLEEP)
    node.wait_state(pod, "running", seconds=20)
    assert alive(int(marker.read_text()))  # not killed yet: KILL comes later, behind our back
    records = node.get("/v1/hook-runs")[1]["items"]
    assert [r["timed_out"] for r in records if r["hook"] == "slow"] == [True]


def test_killed_agent_adopts_its_pods_again(node):
    pods = [node.launch(SLEEP, label=f"t{i}") for i in range(5)]
    for pod in pods:
        node.wait_state(pod, "running")
    pids = {pod: node.pod_pid(pod) for pod in pods}
    node.kill()
    assert all(alive(pid) for pid in pids.values())
    os.kill(pids[pods[4]], signal.SIGKILL)  # one dies while nobody looks
    node.start()
    node.wait_state(pods[4], "lost", seconds=10)
    for pod in pods[:4]:
        node.wait_state(pod, "running")
        assert node.pod_pid(pod) == pids[pod] and alive(pids[pod])
    wait_until("connected again",
               lambda: all(node.get(f"/v1/pods/{pod}")[1].get("pid") == pids[pod]
                           for pod in pods[:4]))
    node.ask_stop(pods[0], [SLEEP])
    node.wait_state(pods[0], "killed")
    wait_until("it is gone", lambda: not alive(pids[pods[0]]))


def test_killed_pod_is_lost_and_its_processes_are_gone(node):
    pod = node.launch(("main", "setsid sleep 1001 & exec sleep 1002", ""))
    node.wait_state(pod, "running")
    wait_until("both run", lambda: len(pids_with("sleep\x001001") + pids_with("sleep\x001002")) == 2)
    os.kill(node.pod_pid(pod), signal.SIGKILL)
    entry = node.wait_state(pod, "lost", seconds=5)
    assert "davit-pod died" in entry["reason"]
    assert pids_with("sleep\x001001") == [] and pids_with("sleep\x001002") == []
    node.drop(pod)
    node.wait_forgotten(pod)


def test_malformed_intent_leaves_the_pod_alone(node):
    pod = node.launch(SLEEP)
    node.wait_state(pod, "running")
    pid = node.pod_pid(pod)
    node.intend(pod, "id: [\n")
    wait_until("logged", lambda: "leaving the pod alone" in node.log())
    fresh = node.pod("fresh")
    node.intend(fresh, "id: other\n")
    other = node.launch(("main", "true", ""))
    node.wait_state(other, "finished")  # the rest goes on
    assert alive(pid) and node.state(pod) == "running"
    assert node.state(fresh) is None
    assert node.log().count(f"intent of pod {pod}") == 1
    node.kill()
    node.start()
    wait_until("adopted", lambda: node.get(f"/v1/pods/{pod}")[1].get("pid") == pid)
    assert alive(pid)
    node.intend(pod, node.manifest(pod, [SLEEP]))
    node.ask_stop(pod, [SLEEP])
    node.wait_state(pod, "killed")


def test_missing_intent_directory_leaves_pods_alone(node, zk):
    pod = node.launch(SLEEP)
    node.wait_state(pod, "running")
    node.kill()
    pid = node.pod_pid(pod)
    zk.delete(f"/davit/intent/{node.name}", recursive=True)
    node.start()
    wait_until("adopted", lambda: node.get(f"/v1/pods/{pod}")[1].get("pid") == pid)
    other = node.pod()
    node.intend(other, node.manifest(other, [SLEEP]))  # the directory is back, without the pod
    node.wait_state(other, "running")
    node.wait_forgotten(pod)
    assert not alive(pid)


def test_node_name_is_not_a_prefix(make_node):
    one, ten = make_node(name="n1").start(), make_node(name="n10").start()
    pod = ten.launch(SLEEP)
    ten.wait_state(pod, "running")
    mine = one.launch(("main", "true", ""))
    one.wait_state(mine, "finished")
    assert [item["pod"] for item in one.get("/v1/pods")[1]["items"]] == [mine]


def test_stubborn_process_is_killed_after_its_grace(node):
    stubborn = ("main", "trap '' TERM; while :; do sleep 0.2; done", "")
    pod = node.launch(stubborn, wait_s=1)
    node.wait_state(pod, "running")
    node.ask_stop(pod, [stubborn])
    node.wait_state(pod, "killed", seconds=20)
    wait_until("nothing is left", lambda: pids_with(pod) == [])


def test_stopped_before_it_ran_is_killed_without_a_home(make_node):
    node = make_node()
    pod = node.pod()
    node.ask_stop(pod, [SLEEP])
    node.start()
    assert node.wait_state(pod, "killed")["reason"] == "Killed by root"
    assert not (node.pod_root / pod).exists()
    node.drop(pod)
    node.wait_forgotten(pod)


def test_unknown_user_fails_the_task(node):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    pod = node.pod()
    node.intend(pod, node.manifest(pod, [SLEEP]).replace("run_as: root", "run_as: no-such-user"))
    node.wait_state(pod, "failed")
    reason = node.reality(pod)["reason"]
    assert reason.startswith("Task started with unknown user.") and "no-such-user" in reason


def test_pods_survive_a_store_that_is_away(tmp_path, make_node):
    with servers.davit_store(tmp_path / "own") as own:
        client = KazooClient(hosts=own.address)
        client.start()
        node = Node(tmp_path, own, client)
        try:
            node.start()
            pod = node.launch(SLEEP)
            short = node.launch(("main", "while [ ! -e stop ]; do sleep 0.05; done", ""))
            node.wait_state(pod, "running")
            node.wait_state(short, "running")
            own.kill()
            (node.pod_root / short / "sandbox" / "stop").touch()
            wait_until("seen without a store",
                       lambda: node.get(f"/v1/pods/{short}")[1]["state"] == "finished")
            assert node.get(f"/v1/pods/{pod}")[1]["state"] == "running"
            node.kill()
            node.start()  # the store is still away
            wait_until("adopted",
                       lambda: node.get(f"/v1/pods/{pod}")[1].get("pid") == node.pod_pid(pod))
            own.start()
            node.wait_state(short, "finished", seconds=30)
            assert node.state(pod) == "running"
        finally:
            node.clean_up()
            client.stop()
            client.close()


def test_sigterm_leaves_pods_running(node):
    pod = node.launch(SLEEP)
    node.wait_state(pod, "running")
    pid = node.pod_pid(pod)
    assert node.stop() == 0
    assert alive(pid)


def test_stop_pods_on_exit_reports_them_lost_after_the_restart(make_node):
    node = make_node(options=["--stop-pods-on-exit"]).start()
    pods = [node.launch(SLEEP, label=f"t{i}") for i in range(3)]
    for pod in pods:
        node.wait_state(pod, "running")
    assert node.stop() == 0
    assert pids_with(str(node.pod_root)) == []
    for pod in pods:
        assert node.state(pod) == "lost"  # told on the way out
    node.start()
    for pod in pods:
        assert node.wait_state(pod, "lost")
        assert node.get(f"/v1/pods/{pod}")[1]["state"] == "lost"
    node.drop(pods[0])
    node.wait_forgotten(pods[0])


POINTS = ["intent", "hooks", "hooks_done", "install", "installed", "launch", "launch_marked",
          "launch_started", "launched", "reality", "halt", "settle", "reap", "kill", "uninstall",
          "uninstalled"]


ONCE = {"halt", "settle", "reap", "kill"}  # in the life below


def has_faults():
    return b"agent.launch_marked" in AGENT.read_bytes()


@pytest.mark.faults
@pytest.mark.parametrize("point,nth", [(point, nth) for point in POINTS for nth in (1, 2)
                                       if nth == 1 or point not in ONCE])
def test_death_at_any_step_converges_without_a_second_launch(make_node, point, nth):
    """One agent dies at the point; the next one does what is left to do."""
    if not has_faults():
        pytest.skip("this build has no crash points (-Dfaults=true)")
    node = make_node()
    hits = node.dir / "hits"
    ran = node.dir / "ran"
    work = ("main", f"echo x >> {ran}; exec sleep 1000", "")
    node.hook("note", f"echo $HOOK_EVENT >> {node.dir}/events\n")
    node.env.update(DAVIT_CRASH_AT=f"agent.{point}:{nth}", DAVIT_CRASH_LOG=str(hits))
    node.start()
    clean = {key: value for key, value in node.env.items() if not key.startswith("DAVIT_CRASH")}

    def revive():
        if node.process.poll() is not None and node.env is not clean:
            node.env = clean
            node.start()
        return True

    def settled(pod, *states):
        wait_until(f"{states}", lambda: revive() and node.state(pod) in states, 30)

    pod = node.launch(work)
    settled(pod, "running")
    wait_until("it has begun", ran.exists)
    lost = node.launch(work, label="lost")
    settled(lost, "running")
    wait_until("both have begun", lambda: ran.read_text() == "x\nx\n")
    os.kill(node.pod_pid(lost), signal.SIGKILL)
    settled(lost, "lost")
    short = node.launch(("main", "true", ""), label="short")
    settled(short, "finished")
    node.ask_stop(pod, [work])
    settled(pod, "killed")
    for one in (pod, lost, short):
        node.drop(one)
        wait_until("forgotten", lambda: revive() and node.reality(one) is None and
                   not (node.pod_root / one).exists(), 30)
    assert ran.read_text() == "x\nx\n"
    wait_until("nothing is left", lambda: pids_with(str(node.pod_root)) == [])
    assert hits.read_text().count(f"agent.{point}\n") == nth  # it did die there


# ---- HTTP ----

def run_hooks(node, **more):
    body = {"dir": "job-kill-pre.d", "env": {"PATH": "/usr/bin:/bin", "GANETI_X": "1"},
            "op_id": "op-9", "op_number": 9, "opcode_index": 0, "job": "j", "phase": "pre",
            "token": "op-9.0", "term_ms": 20000, **more}
    response = node.call("POST", "/v1/hooks/run", body)
    return response.status, json.loads(response.read())


def op_hook(node, name, text, directory="job-kill-pre.d"):
    path = node.op_hooks / directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_operation_hooks_run_once_for_a_token(node):
    out = node.dir / "ran"
    op_hook(node, "10-good", f"echo $GANETI_X >> {out}; sleep 0.3\n")
    op_hook(node, "20-bad", "echo no room; exit 1\n")
    results = []
    threads = [threading.Thread(target=lambda: results.append(run_hooks(node))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.append(run_hooks(node))
    assert [status for status, _ in results] == [200] * 4
    assert out.read_text() == "1\n"  # joined, then answered from the journal
    for _, doc in results:
        runs = {run["hook"]: run for run in doc["runs"]}
        assert runs["10-good"]["outcome"] == "ok" and runs["20-bad"]["outcome"] == "refused"
        assert "no room" in runs["20-bad"]["output_head"]
        assert runs["10-good"]["node"] == node.name and runs["10-good"]["level"] == "operation"
    assert run_hooks(node, token="op-9.1")[0] == 200
    assert out.read_text() == "1\n1\n"
    assert len(node.get("/v1/hook-runs?op=9")[1]["items"]) == 4


def test_operation_hooks_cut_short_by_a_death_run_again(node):
    out = node.dir / "ran"
    op_hook(node, "10-slow", f"echo x >> {out}; [ $(wc -l < {out}) -gt 1 ] || sleep 100\n")
    thread = threading.Thread(target=lambda: pytest.raises(Exception, run_hooks, node))
    thread.start()
    wait_until("begun", lambda: out.exists() and out.read_text() == "x\n")
    node.kill()
    thread.join()
    node.start()
    status, doc = run_hooks(node)
    assert status == 200 and [run["outcome"] for run in doc["runs"]][-1] == "ok"
    assert out.read_text() == "x\nx\n"


def test_bad_hook_requests_are_refused(node):
    assert run_hooks(node, dir="../etc.d")[0] == 400
    assert run_hooks(node, dir="x")[0] == 400
    assert run_hooks(node, token="a b")[0] == 400
    assert run_hooks(node, env={"A=B": "x"})[0] == 400
    assert run_hooks(node, env=3)[0] == 400
    assert run_hooks(node, dir="no-such.d") == (200, {"runs": []})


def test_logs_are_read_and_followed_until_the_end(node):
    pod = node.launch(("main", "echo first; while [ ! -e go ]; do sleep 0.02; done; echo last", ""))
    node.wait_state(pod, "running")
    path = f"/v1/tasks/{pod}/logs?process=main"
    wait_until("first line", lambda: node.call("GET", path).read() == b"first\n")
    response = node.call("GET", path + "&follow=true")
    assert response.status == 200
    assert response.fp.readline  # streamed
    assert response.read(6) == b"first\n"
    (node.pod_root / pod / "sandbox" / "go").touch()
    assert response.read() == b"last\n"  # and the stream ended
    node.wait_state(pod, "finished")
    assert node.call("GET", f"/v1/tasks/{pod}/logs").read() == b"first\nlast\n"
    assert node.call("GET", path + "&stream=stderr").read() == b""


def test_followed_log_survives_truncation_and_a_new_run(node):
    pod = node.launch(("main", "echo run$(ls -d .logs/main/* | wc -l); "
                       "while [ ! -e go ]; do sleep 0.02; done; rm go; exit 1",
                       "          max_failures: 0\n"))
    node.wait_state(pod, "running")
    sandbox = node.pod_root / pod / "sandbox"
    log = sandbox / ".logs" / "main" / "0" / "stdout"
    wait_until("first line", lambda: log.exists() and log.read_text() == "run1\n")
    response = node.call("GET", f"/v1/tasks/{pod}/logs?process=main&follow=true")
    assert response.read(5) == b"run1\n"
    os.truncate(log, 0)
    with open(log, "a") as file:
        file.write("new\n")
    assert response.read(4) == b"new\n"
    (sandbox / "go").touch()
    assert response.read(5) == b"run2\n"
    node.ask_stop(pod, [SLEEP])
    assert response.read() == b""


def test_logs_never_leave_the_sandbox(node):
    pod = node.launch(("main", "mkdir -p .logs/evil/0 && ln -s ../../../../task.json "
                       ".logs/evil/0/stdout && mkdir -p .logs/pipe/0 && mkfifo .logs/pipe/0/stdout",
                       ""))
    node.wait_state(pod, "finished")
    base = f"/v1/tasks/{pod}/logs"
    assert node.call("GET", base + "?process=evil").read() == b""
    assert node.call("GET", base + "?process=evil&run=0").status == 404
    assert node.call("GET", base + "?process=pipe&run=0").status == 404
    assert node.call("GET", base + "?process=..%2F..").status == 400
    assert node.call("GET", base + "?process=.").status == 400
    assert node.call("GET", base + "?process=main&stream=task.json").status == 400
    assert node.call("GET", "/v1/tasks/..%2f" + pod + "/logs").status in (400, 404)
    assert node.call("GET", "/v1/tasks/nobody/logs").status == 404


@pytest.mark.parametrize("rung", ["sweep", ""])
def test_what_a_check_started_goes_with_a_pod_that_is_killed(make_node, rung):
    node = make_node()
    node.env.update({"DAVIT_KILL_RUNG": rung} if rung else {})
    node.start()
    # In sessions of their own, with the environment alone to know them by.
    shell = "setsid sleep 600 & setsid /bin/bash -c 'sleep 600; true' & echo $! > started; wait"
    health = {"health_checker": {"shell": {"shell_command": shell}}, "timeout_secs": 600}
    pod = node.launch(SLEEP, extra=f"    health: {json.dumps(health)}\n")
    home = node.pod_root / pod
    wait_until("the check runs", (home / "sandbox" / "started").exists)
    of_it = f"HOME={home}/sandbox"
    wait_until("its programs run", lambda: len(pids_with(of_it)) >= 5)
    os.kill(node.get(f"/v1/pods/{pod}")[1]["pid"], signal.SIGKILL)
    wait_until("all are gone", lambda: not pids_with(of_it))


def cpu_seconds(pid):
    user, system = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("trick", [
    "sleep 1; : > other; ln -s ../../../other .logs/main/0/new; mv .logs/main/0/new .logs/main/0/stdout; sleep 60",
    "sleep 1; exec /usr/bin/python3 -c \"import os\n"
    "while True:\n    open('new', 'w').close()\n    os.rename('new', '.logs/main/0/stdout')\"",
], ids=["a link", "always another file"])
def test_a_log_that_is_never_the_same_file_does_not_hold_the_agent(node, trick):
    pod = node.launch(("main", trick, ""))
    node.wait_state(pod, "running")
    log = node.pod_root / pod / "sandbox" / ".logs" / "main" / "0" / "stdout"
    first = os.lstat(log).st_ino
    wait_until("it does its trick", lambda: os.lstat(log).st_ino != first)
    before = cpu_seconds(node.process.pid)
    response = node.call("GET", f"/v1/tasks/{pod}/logs?process=main&follow=true")
    assert response.status == 200
    for _ in range(5):
        assert node.call("GET", f"/v1/pods/{pod}").status == 200
    assert cpu_seconds(node.process.pid) - before < 1
    response.close()
    node.ask_stop(pod, [("main", trick, "")])
    node.wait_state(pod, "killed")


def test_second_agent_and_bad_options_are_one_line(node, store):
    for argv, status, word in (
            (["--node", node.name, "--dir", str(node.dir), "--zk", store.address], 13, "another"),
            (["--node", "x/y", "--dir", "d", "--zk", "h:1"], 2, "no node"),
            (["--dir", "d"], 2, "needed"),
            (["--node", "n", "--dir", str(node.dir / "q"), "--zk", "h:1", "--cpus", "x"], 2, "cpus")):
        run = subprocess.run([str(AGENT), *argv], capture_output=True, text=True, timeout=10)
        assert run.returncode == status, run.stderr
        assert word in run.stderr


def test_two_hundred_pods_come_and_go(node):
    pods = [node.pod(f"many{i}") for i in range(200)]
    for pod in pods:
        node.zk.create_async(f"/davit/intent/{node.name}/{pod}",
                             node.manifest(pod, [SLEEP]).encode())
    for pod in pods:
        node.wait_state(pod, "running", seconds=30)
    assert len(pids_with(str(node.pod_root))) >= 200
    for pod in pods:
        node.zk.delete_async(f"/davit/intent/{node.name}/{pod}")
    for pod in pods:
        node.wait_forgotten(pod, seconds=30)
    wait_until("all processes are gone", lambda: pids_with(str(node.pod_root)) == [], 10)
