# SPDX-License-Identifier: Apache-2.0
"""The hook calling rule.  Contract: aurora.md 3.3, 3.4, 3.8, 3.9; the seed's own examples."""

import types

import pytest

from davit_guest import hooks as engine
from davit_guest.api import APIError, Response
from davit_guest.aurora import JobKey
from davit_guest.hooks import GlobalHookRegistry, Hooks

KEY = JobKey("c", "r", "devel", "n")
CONFIG = types.SimpleNamespace(name="config")

ARGS = {
    "create_job": {},
    "kill_job": {"instances": [1, 2], "message": "why"},
    "restart": {"shards": [3], "restart_settings": {
        "batch_size": 2, "watch_secs": 9, "health_check_interval_seconds": 7}},
    "start_cronjob": {},
    "start_job_update": {"message": "msg", "instances": [4], "metadata": {"k": "v"}},
    "add_instances": {"instance_id": 5, "count": 6},
    "cancel_update": {"message": "stop"},
}
OK = {"code": "OK", "messages": ["done"], "result": {"startJobUpdateResult": {"key": {"id": "u"}}},
      "cluster": "devcluster"}
REFUSED = {"code": "INVALID_REQUEST", "messages": ["no", "really"]}


@pytest.fixture(autouse=True)
def no_global_hooks():
    GlobalHookRegistry.reset()
    yield
    GlobalHookRegistry.reset()


def run(hook, event="pre", method="kill_job", outcome=None, **kw):
    return engine.run_phase(Hooks([hook]).for_call(True), event, method, ARGS[method], CONFIG, KEY,
                            outcome, **kw)


def hook_class(source):
    scope = {}
    exec(source, scope)
    return scope["H"]


# --- binding (3.9) -----------------------------------------------------------------------------

#: method, parameters as somebody may have written them, what each must get.
SHAPES = [
    ("create_job", "config", {"config": CONFIG}),
    ("create_job", "*args, **kw", {"args": (CONFIG,), "kw": {}}),
    ("kill_job", "job_key", {"job_key": KEY}),
    ("kill_job", "job_key, shards=None", {"job_key": KEY, "shards": [1, 2]}),
    ("kill_job", "job_key, instances=None, config=None, message=None",
     {"job_key": KEY, "instances": [1, 2], "config": CONFIG, "message": "why"}),
    ("kill_job", "job_key, *args, **kw",
     {"job_key": KEY, "args": (), "kw": {"instances": [1, 2], "config": CONFIG,
                                         "message": "why"}}),
    ("kill_job", "job_key, shards=None, **kw",
     {"job_key": KEY, "shards": [1, 2], "kw": {"instances": [1, 2], "config": CONFIG,
                                               "message": "why"}}),
    ("kill_job", "job_key, instances, config", {"instances": [1, 2], "config": CONFIG}),
    ("kill_job", "job_key, *, message", {"job_key": KEY, "message": "why"}),
    ("kill_job", "job_key, unknown, other=8", {"job_key": KEY, "unknown": None, "other": 8}),
    ("kill_job", "**kw", {"kw": {"job_key": KEY, "instances": [1, 2], "config": CONFIG,
                                 "message": "why"}}),
    ("kill_job", "", {}),
    ("restart", "job_key, shards, restart_settings, config=None",
     {"job_key": KEY, "shards": [3], "config": CONFIG}),
    ("restart", "job_key, shards, update_config, health_check_interval_seconds",
     {"job_key": KEY, "shards": [3], "health_check_interval_seconds": 7}),
    ("restart", "job_key, instances=None", {"job_key": KEY, "instances": [3]}),
    ("start_cronjob", "job_key", {"job_key": KEY}),
    ("start_cronjob", "job_key, config=None", {"job_key": KEY, "config": CONFIG}),
    ("start_job_update", "config, instances=None", {"config": CONFIG, "instances": [4]}),
    ("start_job_update", "config, message, instances=None, metadata=None",
     {"config": CONFIG, "message": "msg", "instances": [4], "metadata": {"k": "v"}}),
    ("start_job_update", "config, *args, **kw",
     {"config": CONFIG, "args": ("msg",), "kw": {"instances": [4], "metadata": {"k": "v"}}}),
    ("start_job_update", "config, shards=None", {"config": CONFIG, "shards": [4]}),
    ("add_instances", "job_key, instance_id, count, config=None",
     {"job_key": KEY, "instance_id": 5, "count": 6}),
    ("add_instances", "job_key, count", {"job_key": KEY, "count": 6}),
    ("cancel_update", "job_key", {"job_key": KEY}),
]


@pytest.mark.parametrize("event", ["pre", "post", "err"])
@pytest.mark.parametrize("method,parameters,expected", SHAPES)
def test_every_written_shape_gets_its_values(event, method, parameters, expected):
    lead = {"pre": "", "post": "result", "err": "exc"}[event]
    declared = ", ".join(part for part in ("self", lead, parameters) if part)
    H = hook_class("class H(object):\n    def %s_%s(%s):\n        H.got = dict(locals())\n"
                   "        return True\n" % (event, method, declared))
    answer = run(H, event, method, OK if event == "post" else REFUSED)
    assert answer["records"][0]["ok"], answer
    for name, value in expected.items():
        assert H.got[name] == value, name
    if event == "post":
        assert H.got["result"].responseCode == 1
    if event == "err":
        assert isinstance(H.got["exc"], APIError) and H.got["exc"].responseCode == 0


def test_update_config_of_restart_is_its_settings():
    class H:
        def pre_restart(self, job_key, shards, update_config, health_check_interval_seconds):
            H.got = (update_config.batch_size, update_config.watch_secs)
            return True
    assert not run(H(), method="restart")["refused"] and H.got == (2, 9)


@pytest.mark.parametrize("make", [
    lambda f: types.SimpleNamespace(pre_kill_job=f),
    lambda f: type("H", (), {"pre_kill_job": staticmethod(f)}),
    lambda f: type("H", (), {"pre_kill_job": classmethod(lambda cls, *a, **k: f(*a, **k))}),
    lambda f: type("H", (), {"pre_kill_job": type(
        "C", (), {"__call__": lambda self, *a, **k: f(*a, **k)})()})(),
])
def test_any_callable_will_do(make):
    seen = []
    assert not run(make(lambda job_key, **kw: seen.append(job_key) or True))["refused"]
    assert seen == [KEY]


# --- generic hooks -----------------------------------------------------------------------------

@pytest.mark.parametrize("parameters,check", [
    ("hook_config, event, method_name, result_or_err, args, kw",
     lambda got: got["args"] == (KEY,) and got["kw"]["instances"] == [1, 2]),
    ("hook_config, event, method_name, result_or_err, *args, **kw",
     lambda got: got["args"][0] == (KEY,) and got["args"][1]["instances"] == [1, 2]
     and got["kw"]["job_key"] == KEY and got["kw"]["message"] == "why"),
    ("hook_config, event, method_name, result_or_err, **kw",
     lambda got: got["kw"]["job_key"] == KEY),
    ("hook_config, event, method_name, result_or_err", lambda got: True),
    ("*everything", lambda got: len(got["everything"]) == 6),
])
def test_generic_hook_shapes(parameters, check):
    H = hook_class("class H:\n    def generic_hook(self, %s):\n        H.got = dict(locals())\n"
                   % parameters)
    answer = run(H)
    assert answer["records"][0]["ok"] and not answer["refused"], answer
    assert check(H.got)
    config = H.got.get("hook_config") or H.got["everything"][0]
    assert config.job_key == KEY and config.config is CONFIG
    assert tuple(config) == (CONFIG, KEY) and config[1] == KEY and len(config) == 2


def test_generic_hook_stands_in_per_phase():
    class H:
        def __init__(self):
            self.seen = []

        def pre_kill_job(self, job_key):
            self.seen.append("pre specific")
            return True

        def generic_hook(self, hook_config, event, method_name, result_or_err, args, kw):
            self.seen.append("%s %s" % (event, method_name))
    hook = H()
    run(hook)
    run(hook, "post", outcome=OK)
    run(hook, "err", outcome=REFUSED)
    run(hook, "pre", "restart")
    assert hook.seen == ["pre specific", "post kill_job", "err kill_job", "pre restart"]


def test_all_21_combinations_reach_a_generic_hook():
    seen = []

    class H:
        def generic_hook(self, hook_config, event, method_name, *args, **kw):
            seen.append((event, method_name))
    for method in ARGS:
        for event in ("pre", "post", "err"):
            run(H, event, method, OK)
    assert len(set(seen)) == 21


# --- verdicts ----------------------------------------------------------------------------------

@pytest.mark.parametrize("answer,specific,generic,strict", [
    ("True", False, False, False), ("1", False, False, False), ("False", True, True, True),
    ("0", True, True, True), ("''", True, True, True), ("None", True, False, True),
    ("1/0", True, True, True)])
def test_what_refuses(answer, specific, generic, strict):
    S = hook_class("class H:\n    def pre_kill_job(self, job_key):\n        return " + answer)
    G = hook_class("class H:\n    def generic_hook(self, *a):\n        return " + answer)
    assert run(S)["refused"] is specific
    assert run(G)["refused"] is generic
    assert run(G, strict=True)["refused"] is strict


def test_every_hook_runs_in_order_even_after_a_refusal():
    seen = []

    def hook(name, answer):
        return types.SimpleNamespace(pre_kill_job=lambda job_key: seen.append(name) or answer)
    GlobalHookRegistry.register_global_hook(hook("global", True))
    objects = Hooks([hook("a", False), hook("b", True), object(), hook("c", False)])
    answer = engine.run_phase(objects.for_call(True), "pre", "kill_job", {}, None, KEY)
    assert seen == ["global", "a", "b", "c"] and answer["refused"]
    assert [record["refused"] for record in answer["records"]] == [False, True, False, True]
    seen.clear()
    engine.run_phase(objects.for_call(False), "pre", "kill_job", {}, None, KEY)
    assert seen == ["global"]
    GlobalHookRegistry.disable_hooks()
    assert objects.for_call(False) == []


def test_errors_after_the_call_are_told_and_trapped(capsys):
    class H:
        def post_kill_job(self, result, job_key):
            raise ValueError("boom")

        def err_kill_job(self, exc, job_key):
            raise KeyError("x")
    answer = run(H, "post", outcome=OK)
    assert not answer["refused"] and not answer["records"][0]["ok"]
    assert answer["records"][0]["error"] == "ValueError: boom"
    assert " WARN] Error in post_kill_job in H: ValueError: boom\n" == capsys.readouterr().err
    assert run(H, "err", outcome=REFUSED)["records"][0]["error"] == "KeyError: 'x'"


@pytest.mark.parametrize("code,status", [("exit(42)", 42), ("exit()", 0), ("exit('bye')", 1)])
def test_exit_in_a_hook_ends_the_client(code, status):
    H = hook_class("import sys\nclass H:\n    def err_kill_job(self, exc, job_key):\n"
                   "        sys.%s\n" % code)
    answer = engine.run_phase(Hooks([H, H]).for_call(True), "err", "kill_job", {}, None, KEY,
                              REFUSED)
    assert answer["exit"] == status and len(answer["records"]) == 1


def test_interrupt_in_a_hook_is_130():
    class H:
        def pre_kill_job(self, job_key):
            raise KeyboardInterrupt
    assert run(H)["exit"] == 130


def test_class_is_made_an_object_once():
    made = []

    class H:
        def __init__(self):
            made.append(1)

        def pre_kill_job(self, job_key):
            return True

        post_kill_job = None
    objects = Hooks([H])
    for _ in range(3):
        assert not engine.run_phase(objects.for_call(True), "pre", "kill_job", {}, None, KEY)[
            "refused"]
    assert made == [1] and objects.names() == ["H"]


def test_update_job_is_used_where_start_job_update_is_not():
    class Old:
        def pre_update_job(self, config, health_check_interval_seconds=3, shards=None):
            Old.got = (config, health_check_interval_seconds, shards)
            return True

    class New(Old):
        def post_start_job_update(self, result, config):
            pass
    answer = run(Old(), "pre", "start_job_update")
    assert answer["records"][0]["name"] == "Old.pre_update_job" and Old.got == (CONFIG, 3, [4])
    assert run(New(), "pre", "start_job_update")["records"] == []


# --- what hooks are given ----------------------------------------------------------------------

def test_response():
    response = Response(OK)
    assert response.responseCode == 1 and response.is_ok()
    assert response.details[0].message == "done"
    assert response.result.startJobUpdateResult.key.id == "u"
    assert response.serverInfo.clusterName == "devcluster" and response.result.nothing is None
    error = APIError(Response(REFUSED))
    assert str(error) == "APIError: INVALID_REQUEST: no, really"
    assert error.response.responseCode == error.responseCode == 0
    assert Response({"code": 6}).responseCode == 6


def test_err_hook_of_a_call_that_broke():
    class H:
        def err_kill_job(self, exc, job_key):
            H.got = exc
    run(H, "err", outcome={"exception": {"type": "TimeoutError", "message": "too late"}})
    assert isinstance(H.got, Exception) and type(H.got).__name__ == "TimeoutError"
    assert str(H.got) == "too late" and H.got.details[0].message == "too late"


# --- the seed's own examples, mended where they are no Python ------------------------------------

def test_seed_kill_confirmer(monkeypatch):
    H = hook_class('''
class H(object):
  def confirm(self, msg):
    H.asked = msg
    return raw_input(msg).lower() == 'yes'
  def pre_kill_job(self, job_key, shards=None):
    shards = ('shards %s' % shards) if shards is not None else 'all shards'
    return self.confirm('Are you sure you want to kill %s (%s)? (yes/no): '
                        % (job_key, shards))
''')
    from davit_guest import compat
    compat.install(True)
    monkeypatch.setattr("builtins.input", lambda prompt="": "Yes")
    assert not run(H())["refused"]
    assert H.asked == "Are you sure you want to kill c/r/devel/n (shards [1, 2])? (yes/no): "
    monkeypatch.setattr("builtins.input", lambda prompt="": "no")
    assert run(H())["refused"]


def test_seed_logger(capsys):
    H = hook_class('''
from twitter.common import log
class H(object):
  """Adds to the log every time a hookable API method is called"""
  def generic_hook(self, hook_config, event, method_name, result_or_err, *args, **kw):
    log.info('%s: %s_%s of %s'
             % (self.__class__.__name__, event, method_name, hook_config.job_key))
''')
    assert not run(H)["refused"]
    assert capsys.readouterr().err == " INFO] H: pre_kill_job of c/r/devel/n\n"


def test_seed_pre_create_traps_its_own_errors():
    H = hook_class('''
def do_something(): raise RuntimeError('x')
class H(object):
  def pre_create_job(self, *args, **kw):
    try:
      do_something() # may cause exception
    except Exception: # generic error trap will catch it
      pass # and ignore the exception
    return True # create_job will run in any case!
''')
    assert not run(H, method="create_job")["refused"]


def test_plan():
    class H:
        def pre_kill_job(self, job_key):
            pass

        def generic_hook(self, *args):
            pass
    assert engine.plan([H(), object()], "kill_job") == {
        "pre": ["H.pre_kill_job"], "post": ["H.generic_hook"], "err": ["H.generic_hook"]}
