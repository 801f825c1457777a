# SPDX-License-Identifier: Apache-2.0
"""What the master refuses, in the words of Aurora's scheduler, through the command line and the
API.  Contract: aurora.md 2.9; cron's words are in test_cron.py, updates' in test_update_cli.py,
quotas' in test_placement.py, constraints' and SLA policies' in the unit tests of model/.
"""
import json
import uuid

import pytest

from cluster import Answer, Cluster, USER

CONFIG = """
import getpass

def job(name, cls=Service, resources={}, **kw):
    need = dict(cpu=0.01, ram=1*MB, disk=1*MB)
    need.update(resources)
    kw.setdefault('environment', 'devel')
    return cls(cluster='devcluster', role=getpass.getuser(), name=name,
               task=Task(name='t', processes=[Process(name='main', cmdline='exec sleep 1000')],
                         resources=Resources(**need), finalization_wait=2), **kw)

jobs = [
    job('plain'),
    job('cron', cls=Job, cron_schedule='0 0 1 1 *'),
    job('docker', container=Container(docker=Docker(image='x'))),
    job('image', container=Docker(image='x')),
    job('mesos', container=Mesos(image=DockerImage(name='a', tag='b'))),
    job('volumes', container=Mesos(volumes=[Volume(container_path='/a', host_path='/b', mode='RO')])),
    job('none', container=Mesos()),
    job('gpu', resources={'gpu': 1}),
    job('executor', executor_config=ExecutorConfig(name='other')),
    job('many', instances=4001),
    job('nowhere', environment='production'),
    job('tier', tier='gold'),
]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster") / "up") as c:
        (c.dir / "jobs.aurora").write_text(CONFIG)
        yield c


def create(cluster, name, env="devel"):
    return cluster.davit("job", "create", cluster.key(name, env), cluster.dir / "jobs.aurora",
                         check=False)


def operation(cluster, **opcode):
    """The operation's end; its one opcode."""
    number = cluster.api("POST", "/v1/operations", {
        "id": str(uuid.uuid4()), "user": USER, "opcodes": [opcode]})["number"]
    return cluster.api("GET", f"/v1/operations/{number}?wait=20000")["opcodes"][0]


@pytest.mark.parametrize("name, message", [
    ("docker", "This scheduler is not configured to allow the container type DOCKER"),
    ("image", "This scheduler is not configured to allow the container type DOCKER"),
    ("mesos", "This scheduler is not configured to allow images in the container type MESOS"),
    ("volumes", "This scheduler is configured to disallow container volumes."),
    ("gpu", "GPU resource support is disabled in this cluster."),
    ("executor", "Configuration for executor 'other' doesn't exist."),
    ("many", "Instance count must be between 1 and 4000 inclusive."),
])
def test_what_create_refuses(cluster, name, message):
    done = create(cluster, name)
    assert done.returncode == 4
    assert done.stderr.startswith("Job creation failed due to error:\n\t")
    assert message in done.stderr


def test_an_environment_of_another_name(cluster):
    done = create(cluster, "nowhere", "production")
    # Behind it "staging\\d*)$", whose backslash is shown as two, as everywhere on a terminal.
    assert "Job environment production doesn't match: ^(prod|devel|test|staging" in done.stderr
    assert done.returncode == 4


def test_a_container_that_changes_nothing_is_taken(cluster):
    assert create(cluster, "none").returncode == 0
    cluster.davit("job", "killall", cluster.key("none"))


def test_a_job_that_is_there(cluster):
    assert create(cluster, "plain").returncode == 0
    done = create(cluster, "plain")
    assert done.returncode == 4 and f"Job {USER}/devel/plain already exists" in done.stderr


def test_a_kill_that_finds_nobody_is_no_failure(cluster):
    create(cluster, "plain")
    cluster.davit("job", "killall", cluster.key("plain"))
    ended = operation(cluster, op="OP_JOB_KILL", key=cluster.key("plain"), instances=None)
    assert ended["status"] == "succeeded" and "No tasks to kill." in json.dumps(ended)


def test_instances_of_cron_jobs_are_not_added(cluster):
    cluster.davit("cron", "schedule", cluster.key("cron"), cluster.dir / "jobs.aurora")
    cluster.davit("cron", "start", cluster.key("cron"))
    cluster.wait_state(cluster.key("cron"), "RUNNING", 1)
    with pytest.raises(Answer) as e:
        operation(cluster, op="OP_JOB_SCALE", key=cluster.key("cron"), instance=0, count=1)
    assert e.value.status == 400 and "Instances may not be added to cron jobs." in e.value.body
    done = cluster.davit("job", "add", cluster.key("cron") + "/0", "1", check=False)
    assert done.returncode != 0 and "Instances may not be added to cron jobs." in done.stderr
    cluster.davit("cron", "deschedule", cluster.key("cron"))
    cluster.davit("job", "killall", cluster.key("cron"))


def test_an_update_that_is_not_there(cluster):
    for method, path in (("GET", "/v1/updates/no-such"), ("POST", "/v1/updates/no-such/pulse")):
        with pytest.raises(Answer) as e:
            cluster.api(method, path, {} if method == "POST" else None)
        assert e.value.status == 404 and "Update does not exist" in e.value.body
