# SPDX-License-Identifier: Apache-2.0
"""What in a configuration file is wrong, or does not do what it looks like.

    [{"level": "error"|"warning"|"note", "job": key or None, "line": N or None, "text"}]

An error is what a verb would refuse; a warning, what most likely was not meant; a
note, what one may want to know.  It runs no hook and contacts nobody.
"""

from pystachio import Empty

from .aurora import port_names
from .errors import GuestError, text_of
from .hooks import METHODS
from .schema import HealthCheckConfig

PHASES = ("pre", "post", "err")
TIERS = ("preferred", "preemptible", "revocable")


def findings(config):
    found = []
    _file(config, found)
    _hooks(config, found)
    for number, path in enumerate(config.job_paths()):
        _job(config, number, path, found)
    return found


def _add(found, level, text, job=None, line=None):
    found.append({"level": level, "job": job, "line": line, "text": text})


# --- the file ----------------------------------------------------------------

def _file(config, found):
    for text in config.warnings:
        _add(found, "note", text)
    if not config.job_paths():
        _add(found, "error", "No job defined in this config!")
    for name, line in config.divisions():
        _add(found, "warning", "%s: Python 2 rounded this division of whole numbers down; Python 3 "
             "does not: write // to keep the old result" % name, line=line)


def _hooks(config, found):
    known = ["%s_%s" % (phase, method) for method in METHODS for phase in PHASES]
    for hook in config.hooks:
        kind = hook if isinstance(hook, type) else type(hook)
        name = kind.__name__
        if isinstance(hook, type):
            _add(found, "note", "hooks lists the class %s: an instance is made of it, without "
                 "arguments" % name)
        methods = [each for each in dir(kind) if callable(getattr(kind, each, None))]
        for method in methods:
            if method.split("_")[0] in PHASES and "_" in method and method not in known:
                _add(found, "warning", "%s.%s is no hook: %s" % (name, method, _nearest(
                    method, known)))
        if "generic_hook" not in methods and not any(each in known for each in methods):
            _add(found, "warning", "%s has no method that is a hook" % name)
    if config.hooks and not any(_wants_hooks(job) for job in config.raw_jobs()):
        _add(found, "warning", "the file defines hooks, but no job says enable_hooks=True: they "
             "never run")


def _wants_hooks(job):
    try:
        return job.enable_hooks() is not Empty and job.enable_hooks().get() is True
    except Exception:
        return False  # The job's own error is told with the job.


def _nearest(word, known):
    best = min(known, key=lambda each: _distance(word, each))
    return "did you mean %s?" % best if _distance(word, best) <= 4 else \
        "hooks are pre_, post_ and err_ with one of %s" % ", ".join(METHODS)


def _distance(a, b):
    """How many letters to change, insert or remove."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != other))
    return row[-1]


# --- one job -----------------------------------------------------------------

def _job(config, number, path, found):
    paths = config.job_paths()
    if config.keys()[number][2] is None:
        _add(found, "error", "the job has no environment, so that no key selects it", path)
        return
    if path in paths[:number]:
        _add(found, "error", "two jobs have this key, so that neither can be selected", path)
        return
    if paths.count(path) > 1:
        return
    try:
        selected, warnings = config.select(path)
    except GuestError as e:
        _add(found, "error", str(e), path, e.data.get("line"))
        return
    except Exception as e:
        _add(found, "error", text_of(e), path)
        return
    for text in warnings:
        _add(found, "warning", text, path)
    for level, text in _remarks(selected):
        _add(found, level, text, path)


def _remarks(config):
    job = config.evaluated()[0]
    service, cron = job.service().get(), job.cron_schedule() is not Empty
    if service and cron:
        yield "error", "A service task may not be run on a cron schedule"
    if job.cron_collision_policy().get().upper() == "RUN_OVERLAP":
        yield "error", "The RUN_OVERLAP collision policy has been removed (AURORA-38)."
    if service and job.max_task_failures().get() != 1:
        yield "note", "max_task_failures means nothing for a service: it is always started again"
    if job.tier() is not Empty and job.tier().get() not in TIERS:
        yield "error", "tier '%s' is none of %s" % (job.tier().get(), ", ".join(TIERS))
    if service and job.update_config() is not Empty and \
            job.update_config().batch_size().get() > job.instances().get():
        yield "note", "update_config.batch_size is larger than the number of instances: all of " \
            "them go at once"
    if job.health_check_config() != HealthCheckConfig() and not _has_check(config, job):
        yield "warning", "health_check_config is set, but nothing is checked: no process uses " \
            "{{thermos.ports[health]}}, and there is no shell checker"


def _has_check(config, job):
    checks = job.health_check_config()
    if checks is Empty:
        return True  # Nothing is wanted.
    if checks.health_checker() is not Empty and checks.health_checker().shell() is not Empty:
        return True
    return "health" in config.ports() or "health" in port_names(job.task().interpolate()[1])
