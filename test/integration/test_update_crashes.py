# SPDX-License-Identifier: Apache-2.0
"""The master dies at each step of a rolling update, once: the next one takes the update to the end
that it would have had, no instance is lost, and the job is unlocked.

Needs a build with -Dfaults=true (DAVIT_BUILD chooses the tree).
"""
import pytest

from cluster import Answer, Cluster
from servers import wait_until
from test_op_crashes import has_faults
from test_updates import active, command, create, job, key_of, marks, operate, update

pytestmark = [pytest.mark.faults, pytest.mark.skipif(
    not has_faults(), reason="this build has no crash points (-Dfaults=true)")]

# How the update of the job is made to pass there, and what it comes to.
FORWARD, BACK, ASKED_BACK, FAIL, ABORT, PAUSE, PULSE = range(7)
POINTS = [
    ("master.update.start", FORWARD), ("master.update.ROLLING_FORWARD", FORWARD),
    ("master.update.ROLLED_FORWARD", FORWARD),
    ("master.update.ROLLING_BACK", BACK), ("master.update.ROLLED_BACK", BACK),
    ("master.update.ROLLING_BACK", ASKED_BACK),
    ("master.update.FAILED", FAIL),
    ("master.update.ABORTED", ABORT),
    ("master.update.ROLL_FORWARD_PAUSED", PAUSE),
    ("master.update.ROLL_FORWARD_AWAITING_PULSE", PULSE),
    ("master.doc.before", FORWARD), ("master.doc.after", FORWARD),
    ("master.doc.before", BACK), ("master.doc.after", BACK),
    ("master.task.before", FORWARD), ("master.task.after", FORWARD),
    ("master.task.before", BACK), ("master.task.after", BACK),
]


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crashes")
    with Cluster(folder, nodes=2, env={"DAVIT_CRASH_FILE": str(folder / "crash")}) as cluster:
        yield cluster


def order_death(c, point):
    (c.dir / "crash.taken").unlink(missing_ok=True)
    (c.dir / "crash").write_text(point + "\n")


def died(c):
    return (c.dir / "crash.taken").exists()


def find(c, config):
    items = c.patient_api("GET", f"/v1/updates?job={key_of(config)}")["items"]
    return items[0] if items else None


def ask(c, word, config, wanted):
    """A command, again if the master died over it before it was kept."""
    def there():
        if find(c, config)["status"] in wanted:
            return True
        try:
            command(c, word, config)
        except Answer as e:
            assert e.status in (404, 409), e
        return False
    wait_until(f"{word} to be kept", there, 60)


def start_surely(c, config):
    """Starts it, again if the master died before it was kept."""
    def there():
        if find(c, config) is None:
            operate(c, {"op": "OP_JOB_UPDATE_START", "job": config})
        return find(c, config)
    return wait_until("the update", there, 60)["id"]


@pytest.mark.parametrize("nth", range(len(POINTS)))
def test_the_next_master_ends_it(c, nth):
    point, kind = POINTS[nth]
    name = f"crash{nth}"
    old = job(name)
    settings = {"watch_secs": 1 if kind in (BACK, FAIL) else 0}
    if kind == FAIL:
        settings["rollback_on_failure"] = False
    if kind == PULSE:
        settings["pulse_interval_secs"] = 60
    if kind in (ASKED_BACK, ABORT, PAUSE):
        settings["watch_secs"] = 1
    new = job(name, cmd="exit 1" if kind in (BACK, FAIL) else "exec sleep 1000", mark="new",
              settings=settings)
    create(c, old)
    before = marks(c, old, 3)
    if kind not in (ASKED_BACK, ABORT, PAUSE):
        order_death(c, point)
    uid = start_surely(c, new)
    if kind in (ASKED_BACK, ABORT, PAUSE):
        wait_until("it has begun", lambda: update(c, uid)["progress"]["waiting"] < 3, 30)
        order_death(c, point)
        ask(c, *{ASKED_BACK: ("ROLLBACK", new, ("ROLLING_BACK", "ROLLED_BACK")),
                 ABORT: ("ABORT", new, ("ABORTED",)),
                 PAUSE: ("PAUSE", new, ("ROLL_FORWARD_PAUSED",))}[kind])
    if kind == PAUSE:
        ask(c, "RESUME", new, ("ROLLING_FORWARD", "ROLLED_FORWARD"))
    if kind == PULSE:
        wait_until("blocked", lambda: died(c) and update(c, uid)["status"].endswith("PULSE"), 30)
        c.patient_api("POST", f"/v1/updates/{uid}/pulse")
    wanted = {BACK: "ROLLED_BACK", ASKED_BACK: "ROLLED_BACK", FAIL: "FAILED",
              ABORT: "ABORTED"}.get(kind, "ROLLED_FORWARD")
    wait_until(f"{wanted}", lambda: update(c, uid)["status"] == wanted, 60)
    assert died(c), "nobody passed there"
    if wanted == "ROLLED_FORWARD":
        assert marks(c, new, 3) == dict.fromkeys(range(3), update(c, uid)["new_config"])
    elif wanted == "ROLLED_BACK":
        assert marks(c, old, 3) == before
    else:
        wait_until("all instances", lambda: len(active(c, old)) == 3, 30)
    # Unlocked: the next one may come.
    def killed():
        try:
            return operate(c, {"op": "OP_JOB_KILL", "key": key_of(old), "instances": None})
        except Answer as e:
            raise AssertionError(e.body) from e
    assert killed()["state"] == "succeeded"
