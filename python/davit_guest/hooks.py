# SPDX-License-Identifier: Apache-2.0
"""Client hooks: which callable runs, with which arguments, and what its answer means.

Contract: aurora.md 3.3 (order: every hook of a phase runs, global ones first),
3.8 (what is accepted where the old document and the old code disagree) and 3.9
(binding: the code's argument shape if it fits the hook's signature, else by name).
It does not make the API call; the C side does, between the phases.
"""

import time

from . import log
from .api import APIError, Response, exception_from
from .aurora import JobKey, Plain
from .errors import named
from .loader import exit_code

#: Per method: positional arguments and keyword arguments of the real client's call.
METHODS = {
    "create_job": (("config",), ()),
    "kill_job": (("job_key",), ("instances", "config", "message")),
    "restart": (("job_key", "shards", "restart_settings"), ("config",)),
    "start_cronjob": (("job_key",), ("config",)),
    "start_job_update": (("config", "message"), ("instances", "metadata")),
    "add_instances": (("job_key", "instance_id", "count"), ("config",)),
    "cancel_update": (("job_key",), ("config", "message")),
}

#: Names that documents gave to the same values.
ALIASES = {
    "kill_job": {"shards": "instances"},
    "restart": {"instances": "shards", "update_config": "restart_settings"},
    "start_job_update": {"shards": "instances"},
}

MISSING = object()


class GlobalHookRegistry:
    """Hooks for every call, whatever the job says."""

    HOOKS = []
    DISABLED = False

    @classmethod
    def register_global_hook(cls, hook):
        cls.HOOKS.append(hook)

    @classmethod
    def get_hooks(cls):
        return [] if cls.DISABLED else list(cls.HOOKS)

    @classmethod
    def reset(cls, hooks=()):
        cls.HOOKS = list(hooks)
        cls.DISABLED = False

    @classmethod
    def disable_hooks(cls):
        cls.DISABLED = True

    @classmethod
    def enable_hooks(cls):
        cls.DISABLED = False


class HookConfig:
    """(config, job_key): by attribute, by index or unpacked."""

    __slots__ = ("config", "job_key")

    def __init__(self, config, job_key):
        self.config = config
        self.job_key = job_key

    def __iter__(self):
        return iter((self.config, self.job_key))

    def __getitem__(self, index):
        return (self.config, self.job_key)[index]

    def __len__(self):
        return 2

    def __repr__(self):
        return "HookConfig(config=%r, job_key=%r)" % (self.config, self.job_key)


# --- arguments ---------------------------------------------------------------------------------

class Signature:
    """What a callable declares, without `inspect` (which is slow to import)."""

    def __init__(self, function):
        call = function
        if not hasattr(call, "__code__") and not hasattr(call, "__func__"):
            call = getattr(type(function), "__call__", None)
            bound = hasattr(call, "__code__")  # A callable instance: skip its self.
        else:
            bound = hasattr(call, "__func__")
            call = getattr(call, "__func__", call)
        code = getattr(call, "__code__", None)
        self.known = code is not None
        if not self.known:
            return
        count = code.co_argcount
        names = code.co_varnames
        self.fixed = list(names[1 if bound and count > 0 else 0:count])
        self.keyword_only = list(names[count:count + code.co_kwonlyargcount])
        count += code.co_kwonlyargcount
        self.star = bool(code.co_flags & 0x04)
        self.star_star = bool(code.co_flags & 0x08)
        defaults = getattr(call, "__defaults__", None) or ()
        self.defaults = set(self.fixed[len(self.fixed) - len(defaults):]) if defaults else set()
        self.defaults.update(getattr(call, "__kwdefaults__", None) or ())

    def declared(self):
        return self.fixed + self.keyword_only


def lookup(method, name, values):
    """The canonical value behind a parameter's name, or MISSING."""
    if name in values:
        return values[name]
    alias = ALIASES.get(method, {}).get(name)
    if alias is not None:
        return values.get(alias, MISSING)
    if method == "restart" and name == "health_check_interval_seconds":
        return getattr(values.get("restart_settings"), name, MISSING)
    return MISSING


def canonical(method, name, values):
    """Which value a parameter's name means: its own name, or None if it is unknown."""
    if name in values:
        return name
    if lookup(method, name, values) is MISSING:
        return None
    return ALIASES.get(method, {}).get(name, name)


def bind_code_style(signature, method, lead, values):
    """Contract 3.9 A: (positional, keywords) of the real client's call, or None."""
    names, keywords = METHODS[method]
    positional = lead + [values[name] for name in names]
    landing = [None] * len(lead) + list(names)  # What each positional is, by name.
    if len(positional) > len(signature.fixed) and not signature.star:
        return None
    taken = set()
    for at, parameter in enumerate(signature.fixed[:len(positional)]):
        taken.add(parameter)
        meant = canonical(method, parameter, values)
        if meant is not None and meant != landing[at]:
            return None  # A value would land on a parameter that means another one.
    spoken = {}
    for name in keywords:
        if name in taken or (name not in signature.declared() and not signature.star_star):
            return None
        spoken[name] = values[name]
    for parameter in signature.declared():
        if parameter in taken or parameter in spoken:
            continue
        value = lookup(method, parameter, values)
        if value is not MISSING:
            spoken[parameter] = value
        elif parameter not in signature.defaults:
            return None
    return positional, spoken


def bind_by_name(signature, method, lead, values):
    """Contract 3.9 B: every declared parameter gets its value, its default or None."""
    positional, spoken, used = [], {}, set()
    fixed = list(signature.fixed)
    positional.extend(lead[:len(fixed)] if not signature.star else lead)
    by_default = False
    for parameter in fixed[len(lead):]:
        value = lookup(method, parameter, values)
        if value is MISSING and parameter in signature.defaults:
            by_default = True  # From here on only names can be used.
            continue
        value = None if value is MISSING else value
        used.add(ALIASES.get(method, {}).get(parameter, parameter))
        if by_default:
            spoken[parameter] = value
        else:
            positional.append(value)
    for parameter in signature.keyword_only:
        value = lookup(method, parameter, values)
        if value is not MISSING or parameter not in signature.defaults:
            spoken[parameter] = None if value is MISSING else value
            used.add(ALIASES.get(method, {}).get(parameter, parameter))
    if signature.star_star:
        for name, value in values.items():
            if name not in used and name not in spoken and name not in fixed:
                spoken[name] = value
    return positional, spoken


def bind_call(function, method, lead, values):
    """(positional, keywords) for a pre_/post_/err_ hook."""
    signature = Signature(function)
    names, keywords = METHODS[method]
    code_style = (lead + [values[name] for name in names], {name: values[name]
                                                            for name in keywords})
    if not signature.known:
        return code_style
    return bind_code_style(signature, method, lead, values) or \
        bind_by_name(signature, method, lead, values)


def bind_generic(function, method, lead, values):
    """Contract 3.9 C: lead is (hook_config, event, method, result_or_err)."""
    names, keywords = METHODS[method]
    args = tuple(values[name] for name in names)
    kw = {name: values[name] for name in keywords}
    signature = Signature(function)
    if not signature.known or len(signature.fixed) >= len(lead) + 2:
        return lead + [args, kw], {}
    missing = [parameter for parameter in signature.declared()[len(lead):]
               if parameter not in signature.defaults]
    spoken = {parameter: lookup(method, parameter, values) for parameter in missing}
    spoken = {name: None if value is MISSING else value for name, value in spoken.items()}
    if signature.star_star:
        spoken.update((name, value) for name, value in values.items()
                      if name not in signature.fixed)
    if signature.star and not missing:
        return lead + [args, kw], spoken
    return lead[:len(signature.fixed)] if not signature.star else lead, spoken


# --- running -----------------------------------------------------------------------------------

class Hooks:
    """The hook objects of one loaded configuration, classes made into objects once."""

    def __init__(self, objects):
        self._objects = list(objects)
        self._instances = {}

    def _instance(self, hook):
        if not isinstance(hook, type):
            return hook
        if hook not in self._instances:
            try:
                self._instances[hook] = hook()
            except TypeError as e:
                log.debug("hook class %s is used as it is: %s", hook.__name__, e)
                self._instances[hook] = hook
        return self._instances[hook]

    def names(self):
        return [owner_name(self._instance(hook)) for hook in self._objects]

    def for_call(self, enabled):
        hooks = GlobalHookRegistry.get_hooks() + (self._objects if enabled else [])
        return [self._instance(hook) for hook in hooks]


def owner_name(hook):
    if isinstance(hook, type) or hasattr(hook, "__spec__"):
        return hook.__name__
    return type(hook).__name__


def update_job_values(values):
    """start_job_update's values as the older update_job had them."""
    return {"config": values["config"], "health_check_interval_seconds": 3,
            "shards": values["instances"]}


def resolve(hook, event, method):
    """(callable, name of its method, whether it is generic) or None."""
    names = [method] + (["update_job"] if method == "start_job_update" and not any(
        callable(getattr(hook, "%s_start_job_update" % each, None))
        for each in ("pre", "post", "err")) else [])
    for name in names:
        function = getattr(hook, "%s_%s" % (event, name), None)
        if callable(function):
            return function, name, False
    function = getattr(hook, "generic_hook", None)
    return (function, method, True) if callable(function) else None


def plan(hooks, method):
    """What would run, per event: {event: ["Class.method", ...]}"""
    planned = {}
    for event in ("pre", "post", "err"):
        planned[event] = []
        for hook in hooks:
            found = resolve(hook, event, method)
            if found is not None:
                planned[event].append("%s.%s" % (owner_name(hook), "generic_hook" if found[2]
                                                 else "%s_%s" % (event, found[1])))
    return planned


METHODS["update_job"] = (("config", "health_check_interval_seconds", "shards"), ())


def run_one(hook, found, event, method, outcome, values, hook_config, strict):
    """One record.  SystemExit and KeyboardInterrupt go through it as record["exit"]."""
    function, name, generic = found
    label = "generic_hook" if generic else "%s_%s" % (event, name)
    record = {"name": "%s.%s" % (owner_name(hook), label), "event": event, "generic": generic,
              "ok": True, "refused": False, "error": None}
    started, clock = time.time(), time.monotonic()
    log.debug("Running %s in %s", label, owner_name(hook))
    lead = [] if event == "pre" else [outcome]
    try:
        if generic:
            positional, spoken = bind_generic(
                function, method, [hook_config, event, method, outcome], values)
        else:
            if name == "update_job":
                values = update_job_values(values)
            positional, spoken = bind_call(function, name, lead, values)
        answer = function(*positional, **spoken)
        if event == "pre" and not answer and (answer is not None or not generic or strict):
            log.debug("%s in %s returned False", label, owner_name(hook))
            record["ok"], record["refused"] = False, True
            record["error"] = "returned %r" % (answer,)
    except SystemExit as e:
        record["ok"], record["error"] = False, "called exit(%s)" % exit_code(e)
        record["exit"] = exit_code(e)
        if e.code is not None and not isinstance(e.code, int):
            log.write("FATAL", "%s", e.code)
    except KeyboardInterrupt:
        record["ok"], record["error"], record["exit"] = False, "interrupted", 130
    except Exception as e:
        record["ok"] = False
        record["refused"] = event == "pre"
        record["error"] = named(e)
        log.warn("Error in %s in %s: %s", label, owner_name(hook), record["error"])
        if log.is_verbose():
            import traceback
            log.warn("%s", traceback.format_exc().rstrip())
    record["duration_ms"] = int((time.monotonic() - clock) * 1000 + 0.5)
    record["started_ms"] = int(started * 1000)
    record["finished_ms"] = record["started_ms"] + record["duration_ms"]
    return record


def run_phase(hooks, event, method, args, config, key, outcome_json=None, strict=False):
    """Every hook of a phase in order: {"records", "refused", "exit"?}"""
    values = call_values(method, args, config, key)
    outcome = None
    if event == "post":
        outcome = Response(outcome_json or {})
    elif event == "err":
        outcome = exception_from(outcome_json["exception"]) \
            if (outcome_json or {}).get("exception") else APIError(Response(outcome_json or {}))
    hook_config = HookConfig(config, key)
    records = []
    result = {"records": records, "refused": False}
    for hook in hooks:
        found = resolve(hook, event, method)
        if found is None:
            continue
        records.append(run_one(hook, found, event, method, outcome, values, hook_config, strict))
        if records[-1]["refused"]:
            result["refused"] = True
        if "exit" in records[-1]:
            result["exit"] = records[-1]["exit"]
            break  # The client ends here.
    return result


def call_values(method, args, config, key):
    """The canonical value of each argument, from what the C side sent."""
    positional, keywords = METHODS[method]
    values = {}
    for name in positional + keywords:
        if name == "config":
            values[name] = config
        elif name == "job_key":
            values[name] = key
        elif name == "restart_settings":
            values[name] = Plain(**dict({
                "batch_size": 1, "watch_secs": 30, "max_per_instance_failures": 0,
                "max_total_failures": 0, "health_check_interval_seconds": 3},
                **(args.get(name) or {})))
        elif name == "metadata":
            values[name] = args.get(name) or {}
        else:
            values[name] = args.get(name)
    return values


def key_of(path):
    return JobKey.from_path(path) if path else None
