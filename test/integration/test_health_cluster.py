# SPDX-License-Identifier: Apache-2.0
"""Health checks and the stop ladder through a whole cluster: from .aurora file to task events."""
import contextlib
import os
import pathlib
import signal
import uuid

import pytest

from cluster import Cluster, is_zombie
from servers import wait_until

SERVER = pathlib.Path(__file__).with_name("health_server.py")

CONFIG = """
import getpass

CHECKS = HealthCheckConfig(initial_interval_secs=20, interval_secs=0.2, timeout_secs=0.5)
LADDER = LifecycleConfig(http=HttpLifecycleConfig(graceful_shutdown_wait_secs=2, shutdown_wait_secs=1))

def job(name, port='health', cls=Service, ram=64*MB, disk=64*MB, cmd=None, **kw):
    serve = Process(name='server', cmdline=cmd or 'cd %(dir)s/' + name + ' && exec /usr/bin/python3 '
                    '%(server)s {{{{thermos.ports[' + port + ']}}}}')
    kw.setdefault('health_check_config', CHECKS)
    return cls(cluster='devcluster', role=getpass.getuser(), environment='devel', name=name,
               task=Task(name='t', processes=[serve], finalization_wait=1,
                         resources=Resources(cpu=0.01, ram=ram, disk=disk)), **kw)

jobs = [
    job('web', lifecycle=LADDER),
    job('sick', cls=Job, health_check_config=CHECKS(initial_interval_secs=0.2)),
    job('alias', port='http', announce=Announcer(primary_port='http', portmap={'health': 'http'})),
    job('off', lifecycle=DisableLifecycle),
    job('slow', lifecycle=LifecycleConfig(http=HttpLifecycleConfig(
        graceful_shutdown_wait_secs=1, shutdown_wait_secs=1))),
    job('shell', cmd='sleep 1000', health_check_config=CHECKS(health_checker=HealthCheckerConfig(
        shell=ShellHealthChecker(shell_command='test -e %(dir)s/shell/up-{{mesos.instance}}')))),
    Job(cluster='devcluster', role=getpass.getuser(), environment='devel', name='chatty',
        task=Task(name='t', resources=Resources(cpu=0.01, ram=64*MB, disk=64*MB), processes=[Process(
            name='talker', cmdline='for i in $(seq 100 199); do echo line $i; sleep 0.01; done',
            logger=Logger(mode='rotate', rotate=RotatePolicy(log_size=90, backups=3)))])),
    job('hangs', cls=Job, cmd='sleep 1000', health_check_config=CHECKS(timeout_secs=60, health_checker=HealthCheckerConfig(
        shell=ShellHealthChecker(shell_command='test -e %(dir)s/hangs/now || exit 0; cd %(dir)s/hangs; '
                                 'setsid sleep 1000 & exec sleep 1000')))),
    job('hog', cls=Job, ram=24*MB, cmd='exec /usr/bin/python3 -c "x = bytearray(200000000)"'),
]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("health")
    directory.chmod(0o755)
    config = CONFIG.replace("{{{{", "{{").replace("}}}}", "}}") % {"dir": directory, "server": SERVER}
    (directory / "health.aurora").write_text(config)
    for name in ("web", "sick", "alias", "off", "slow", "shell", "hangs"):
        (directory / name).mkdir()
        (directory / name).chmod(0o777)
    with Cluster(directory / "up") as one:
        one.files = directory
        yield one
    assert one.all_pids() == []


def create(cluster, name):
    cluster.davit("job", "create", cluster.key(name), str(cluster.files / "health.aurora"))
    return cluster.key(name)


def requests(cluster, name, get=False):
    path = cluster.files / name / "requests"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if get or not line.startswith("GET")]


def messages(task):
    return [(event["state"], event.get("message")) for event in task["events"]]


def answer(cluster, name, text):
    part = cluster.files / name / "answer.part"
    part.write_text(text)
    part.rename(cluster.files / name / "answer")


def test_a_service_runs_when_healthy_and_is_replaced_when_it_no_longer_is(cluster):
    answer(cluster, "web", "503 not yet")
    key = create(cluster, "web")
    wait_until("it is asked", lambda: "GET /health" in requests(cluster, "web", get=True))
    task, = cluster.wait_state(key, "STARTING", 1)
    answer(cluster, "web", "200 ok")
    task, = cluster.wait_state(key, "RUNNING", 1)
    assert messages(task)[-1] == ("RUNNING", "Task is healthy.")
    (cluster.files / "web" / "quits").write_text("/quitquitquit")
    answer(cluster, "web", "200 broken")
    failed, = cluster.wait_state(key, "FAILED", 1)
    assert messages(failed)[-1] == (
        "FAILED", 'Failed health check! Response differs from expected response (expected "ok", got "broken")')
    assert requests(cluster, "web") == ["POST /quitquitquit"]
    again, = [t for t in cluster.tasks(key) if t.get("ancestor") == failed["id"]]
    assert again["instance"] == 0
    cluster.davit("job", "killall", key)


def test_a_job_that_never_becomes_healthy_fails(cluster):
    answer(cluster, "sick", "500 no")
    key = create(cluster, "sick")
    task, = cluster.wait_state(key, "FAILED", 1)
    assert messages(task)[-1] == ("FAILED",
                                  "Failed health check! Not enough successful health checks in time.")
    assert "RUNNING" not in [state for state, _ in messages(task)]


def test_the_health_port_may_be_an_alias(cluster):
    (cluster.files / "alias" / "quits").write_text("/quitquitquit")
    key = create(cluster, "alias")
    task, = cluster.wait_state(key, "RUNNING", 1)
    assert messages(task)[-1] == ("RUNNING", "Task is healthy.")
    cluster.davit("job", "killall", key)
    assert requests(cluster, "alias") == ["POST /quitquitquit"]  # the default lifecycle has a ladder


def test_a_disabled_lifecycle_has_no_ladder(cluster):
    key = create(cluster, "off")
    cluster.wait_state(key, "RUNNING", 1)
    cluster.davit("job", "killall", key)
    assert requests(cluster, "off") == ["TERM"]


def test_an_agent_that_dies_in_the_middle_of_the_ladder_changes_nothing(cluster):
    key = create(cluster, "slow")
    cluster.wait_state(key, "RUNNING", 1)
    (cluster.files / "slow" / "stubborn").touch()
    cluster.api("POST", "/v1/operations", {
        "id": str(uuid.uuid4()), "user": "me", "opcodes": [{"op": "OP_JOB_KILL", "key": key}]})
    wait_until("the first rung", lambda: "POST /quitquitquit" in requests(cluster, "slow"))
    agent, = cluster.pids("davit-agent")
    os.kill(agent, signal.SIGKILL)
    task, = cluster.wait_state(key, "KILLED", 1)
    assert requests(cluster, "slow") == ["POST /quitquitquit", "POST /abortabortabort", "TERM"]
    assert messages(task)[-1][1] == "Killed by me"


def test_a_shell_check_decides_for_each_instance(cluster):
    key = create(cluster, "shell")
    cluster.wait_state(key, "STARTING", 1)
    (cluster.files / "shell" / "up-0").touch()
    task, = cluster.wait_state(key, "RUNNING", 1)
    assert messages(task)[-1] == ("RUNNING", "Task is healthy.")
    cluster.davit("job", "killall", key)


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
                    reason="no memory cgroup that we may use")
def test_out_of_memory_is_the_events_message(cluster):
    key = create(cluster, "hog")
    task, = cluster.wait_state(key, "FAILED", 1)
    assert messages(task)[-1][1].startswith("Memory limit exceeded.  Reserved 25165824 bytes vs used ")


def in_directory(path):
    """Live processes that have it as their working directory."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and not is_zombie(entry) and os.readlink(f"/proc/{entry}/cwd") == str(path):
                found.append(int(entry))
    return found


def test_what_a_check_started_does_not_outlive_its_pod(cluster):
    key = create(cluster, "hangs")
    task, = cluster.wait_state(key, "RUNNING", 1)
    (cluster.files / "hangs" / "now").touch()
    wait_until("the command hangs", lambda: len(in_directory(cluster.files / "hangs")) == 2)
    pod, = cluster.pids("davit-pod", task["id"])
    os.kill(pod, signal.SIGKILL)
    wait_until("both are gone", lambda: in_directory(cluster.files / "hangs") == [], 20)
    cluster.davit("job", "killall", key)


def test_a_rotated_log_is_followed_into_its_next_file(cluster):
    key = create(cluster, "chatty")
    done = cluster.davit("task", "logs", "--follow", key + "/0", timeout=30)
    assert done.stdout.splitlines() == [f"line {i}" for i in range(100, 200)]
    task, = cluster.wait_state(key, "FINISHED", 1)
    logs, = cluster.dir.glob(f"nodes/*/*/{task['id']}*/sandbox/.logs/talker/0")
    assert sorted(path.name for path in logs.iterdir()) == ["stderr", "stdout", "stdout.1", "stdout.2",
                                                             "stdout.3"]


def test_the_client_refuses_negative_settings(cluster):
    text = (cluster.files / "health.aurora").read_text() + \
        "\njobs = [job('web', health_check_config=CHECKS(interval_secs=-1))]\n"
    (cluster.files / "bad.aurora").write_text(text)
    done = cluster.davit("job", "create", cluster.key("web"), str(cluster.files / "bad.aurora"), check=False)
    assert done.returncode == 1
    assert "specified for interval_secs. Value cannot be less than 0." in done.stdout + done.stderr
