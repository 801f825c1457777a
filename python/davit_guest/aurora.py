# SPDX-License-Identifier: Apache-2.0
"""One job: checked by the rules of the Aurora client, in the order of its complaints.

AuroraConfig is the object that hooks see as `config`.  It never decides which
file or job is meant (loader.py), and it contacts nobody.
Contract: pystachio.md section 14, aurora.md 2.8 and 3.5.
"""

from pystachio import Empty, Environment, Ref

from .errors import GuestError, InvalidConfig, text_of
from .schema import MB, Metadata, Task

MIN_PULSE_SECS = 60
DEPRECATED_PRODUCTION = [
    "*" * 80, "* The command you ran is deprecated and will soon break!",
    "* Job.production is deprecated: set Job.tier to 'preferred' instead.", "*" * 80]
ANY_INSTANCE = 31337  # Stands for the instance where one is needed to check a task.


class JobKey:
    """cluster/role/env/name, as hooks know it (apache.aurora.common.aurora_job_key)."""

    __slots__ = ("_cluster", "_role", "_env", "_name")

    class Error(Exception):
        pass

    class InvalidIdentifier(Error):
        pass

    class ParseError(Error):
        pass

    def __init__(self, cluster, role, env, name):
        for kind, value in (("cluster", cluster), ("role", role), ("env", env), ("name", name)):
            if kind != "cluster" and not is_identifier(value):
                raise self.InvalidIdentifier("Invalid %s '%s'" % (kind, value))
        self._cluster, self._role, self._env, self._name = cluster, role, env, name

    @classmethod
    def from_path(cls, path):
        parts = path.split("/")
        if len(parts) != 4:
            raise cls.ParseError("Invalid path '%s'" % path)
        return cls(*parts)

    cluster = property(lambda self: self._cluster)
    role = property(lambda self: self._role)
    env = property(lambda self: self._env)
    environment = env
    name = property(lambda self: self._name)

    def to_path(self):
        return "/".join(self)

    def __iter__(self):
        return iter((self._cluster, self._role, self._env, self._name))

    def __eq__(self, other):
        return isinstance(other, JobKey) and tuple(self) == tuple(other)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(tuple(self))

    def __str__(self):
        return self.to_path()

    def __repr__(self):
        return "AuroraJobKey(%s)" % self.to_path()


def is_identifier(text):
    return isinstance(text, str) and text != "" and all(
        (c.isascii() and c.isalnum()) or c in "_-." for c in text)


class Plain:
    """A bag of attributes, for the thrift structs that hooks may look into."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join(
            "%s=%r" % item for item in self.__dict__.items()))

    def __eq__(self, other):
        return type(other) is type(self) and self.__dict__ == other.__dict__

    __hash__ = None


def thrift(struct, /, **fields):
    """A struct of the API with its name."""
    return _THRIFT.setdefault(struct, type(struct, (Plain,), {}))(**fields)


_THRIFT = {}


def port_names(refs):
    return [ref.parts[2][1:] for ref in refs
            if len(ref.parts) == 3 and ref.parts[:2] == (".thermos", ".ports")
            and ref.parts[2][0] == "["]


def resolve_portmap(portmap):
    """Follow aliases: name -> final name (text) or static port (int)."""
    resolved = {}
    for name in portmap:
        at, seen = name, set()
        while isinstance(at, str) and at in portmap:
            if at in seen:
                raise GuestError("Found cycle in portmap!")
            seen.add(at)
            target = portmap[at]
            try:
                at = int(target)
            except ValueError:
                if target == at:
                    break  # `http: http` is a name for itself, not a cycle.
                at = target
        resolved[name] = at
    return resolved


class Planner:
    """Do the order constraints of some processes make sense together?"""

    def __init__(self, processes, constraints):
        names = [process.name().get() for process in processes]
        self.after = {name: set() for name in names}
        flags = {process.name().get(): (process.daemon().get(), process.ephemeral().get())
                 for process in processes}
        for constraint in constraints:
            chain = [name.get() for name in constraint.order()] \
                if constraint.order() is not Empty else []
            inside = [name for name in chain if name in flags]
            if not inside:
                continue
            if len(inside) != len(chain):
                raise InvalidConfig(
                    "Task is invalid: Task has invalid plan: Invalid process dependencies!")
            for before, then in zip(chain, chain[1:]):
                self.after[then].add(before)
        for name in names:
            for before in sorted(self.after[name]):
                if flags[before][0]:
                    raise InvalidConfig(
                        "Task is invalid: Task has invalid plan: Process %s may not depend upon "
                        "daemon process %s" % (name, before))
                if flags[before][1] and not flags[name][1]:
                    raise InvalidConfig(
                        "Task is invalid: Task has invalid plan: Non-ephemeral process %s may "
                        "not depend upon ephemeral process %s" % (name, before))
        self._refuse_cycles()

    def _refuse_cycles(self):
        waits = {name: set(before) for name, before in self.after.items()}
        ready = [name for name, before in waits.items() if not before]
        followers = {}
        for name, before in waits.items():
            for each in before:
                followers.setdefault(each, []).append(name)
        done = 0
        while ready:
            name = ready.pop()
            done += 1
            for follower in followers.get(name, ()):
                waits[follower].discard(name)
                if not waits[follower]:
                    ready.append(follower)
        if done < len(waits):
            raise InvalidConfig("Task is invalid: Task has invalid plan: "
                                "Cycles detected in the task schedule!")


class AuroraConfig:
    def __init__(self, job, hooks=()):
        self._job = job
        self.hooks = list(hooks)
        self._require()
        self._job = job.bind(Environment({
            "mesos.role": "{{role}}", "mesos.cluster": "{{cluster}}",
            "thermos.user": "{{role}}"}))
        self._forget()

    def _forget(self):
        self._evaluated = self._sent = None

    def _require(self):
        job = self._job
        name = _text(job.name())
        for field in ("cluster", "task", "role"):
            if getattr(job, field)() is Empty:
                raise InvalidConfig('%s required for job "%s"' % (field.capitalize(), name))
        # Not through job.task(): evaluating all of it costs, and may fail for other reasons.
        task = job.task()
        if task.processes() is Empty or not tuple(task.processes()):
            raise InvalidConfig('Processes required for task on job "%s"' % name)

    # --- what hooks ask ----------------------------------------------------

    def raw(self):
        return self._job

    def evaluated(self):
        """(evaluated job, open references)"""
        if self._evaluated is None:
            self._evaluated = self._job.interpolate()
        return self._evaluated

    def sent(self):
        """The same, evaluated again, as the client always did: an escape `{{&x}}` of a known x
        ends as its value, and of an unknown one as an open reference."""
        if self._sent is None:
            self._sent = self.evaluated()[0].interpolate()
        return self._sent

    def name(self):
        return _text(self._job.name())

    def role(self):
        return _text(self._job.role())

    def cluster(self):
        return _text(self._job.cluster())

    def environment(self):
        return _text(self._job.environment())

    def instances(self):
        return self._job.instances().get()

    def update_config(self):
        return self._job.update_config()

    def health_check_config(self):
        return self._job.health_check_config()

    def job_key(self):
        return JobKey(self.cluster(), self.role(), self.environment(), self.name())

    def is_dedicated(self):
        constraints = self._job.constraints()
        return constraints is not Empty and "dedicated" in constraints

    def has_health_port(self):
        return "health" in self.ports()

    def task(self, instance):
        # As the original: a truth test, so instance 0 leaves the reference open.
        task = self._job.task()
        return task % {"mesos": {"instance": instance}} if instance else task

    def bind(self, *args, **kw):
        self._job = self._job.bind(*args, **kw)
        self._forget()

    def add_metadata(self, key, value):
        metadata = self._job.metadata()
        items = [] if metadata is Empty else list(metadata)
        self._job = self._job(metadata=items + [Metadata(key=key, value=value)])
        self._forget()

    def job(self):
        """The job as the API's structs: what hooks look into and `job inspect --raw` prints."""
        job = self.evaluated()[0]
        resources = job.task().resources()
        key = thrift("JobKey", role=self.role(), environment=self.environment(), name=self.name())
        owner = thrift("Identity", user=self.role())
        needs = [("numCpus", resources.cpu().get()), ("ramMb", resources.ram().get() // MB),
                 ("diskMb", resources.disk().get() // MB)]
        needs += [("namedPort", port) for port in self.ports()]
        if resources.gpu().get() > 0:
            needs.append(("numGpus", resources.gpu().get()))
        task = thrift(
            "TaskConfig", job=key, owner=owner, isService=job.service().get(),
            priority=job.priority().get(), production=job.production().get(),
            tier=None if job.tier() is Empty else _text(job.tier()),
            maxTaskFailures=job.max_task_failures().get(),
            contactEmail=None if job.contact() is Empty else _text(job.contact()),
            numCpus=needs[0][1], ramMb=needs[1][1], diskMb=needs[2][1],
            requestedPorts=set(self.ports()),
            resources=[thrift("Resource", **{kind: amount}) for kind, amount in needs],
            constraints=self._thrift_constraints(job),
            metadata=[thrift("Metadata", key=_text(each.key()), value=_text(each.value()))
                      for each in job.metadata()],
            executorConfig=self._thrift_executor(job))
        return thrift(
            "JobConfiguration", key=key, owner=owner,
            cronSchedule=None if job.cron_schedule() is Empty else _text(job.cron_schedule()),
            cronCollisionPolicy=_text(job.cron_collision_policy()).upper(),
            instanceCount=self.instances(), taskConfig=task)

    @staticmethod
    def _thrift_constraints(job):
        constraints = job.constraints()
        found = []
        for name in () if constraints is Empty else constraints:
            value = _text(constraints[name])
            if value.startswith("limit:"):
                rule = thrift("TaskConstraint", limit=thrift(
                    "LimitConstraint", limit=int(value[6:])))
            else:
                rule = thrift("TaskConstraint", value=thrift(
                    "ValueConstraint", negated=value.startswith("!"),
                    values=set(value.lstrip("!").split(","))))
            found.append(thrift("Constraint", name=_text(name), constraint=rule))
        return found

    @staticmethod
    def _thrift_executor(job):
        from .jsonio import dumps, plain
        data = {name: value for name, value in plain(job.get()).items()
                if name not in ("instances", "update_config")}
        return thrift("ExecutorConfig", name=_text(job.executor_config().name()), data=dumps(data))

    def _static_portmap(self):
        announce = self._job.announce()
        if announce is Empty:
            return {}
        return {_text(name): _text(announce.portmap()[name]) for name in announce.portmap()}

    def ports(self):
        """Names of the ports the task asks for, sorted."""
        resolved = resolve_portmap(self._static_portmap())
        wanted = set()
        for name in self._named_ports() + list(resolved.values()):
            target = resolved.get(name, name)
            if isinstance(target, str):
                wanted.add(target)
        return sorted(wanted)

    def _named_ports(self):
        """As the processes name them."""
        return port_names(self.evaluated()[0].task().processes().interpolate()[1])

    # --- checks ------------------------------------------------------------

    def validate(self):
        """Raise GuestError for the first thing wrong; give warnings back."""
        self._check_update()
        warnings = self._check_announce()
        result = self._job.check()
        if not result.ok():
            raise InvalidConfig("Job not fully specified: %s" % result.message())
        for kind, value in (("role", self.role()), ("environment", self.environment()),
                            ("name", self.name())):
            if not is_identifier(value):
                raise InvalidConfig("Invalid %s '%s'" % (kind, value))
        job, unbound = self.evaluated()
        self._check_resources(job.task())
        self._check_constraints(job)
        self._check_task(job.task())
        left = [ref for ref in {*unbound, *self.sent()[1]} if not may_stay_open(ref, (
            ".mesos.instance", ".mesos.hostname", ".thermos.task_id"))]
        if left:
            raise InvalidConfig("Config contains unbound variables: %s" % _refs(left))
        policy = _text(job.cron_collision_policy())
        if policy.upper() not in ("KILL_EXISTING", "CANCEL_NEW", "RUN_OVERLAP"):
            raise InvalidConfig("Invalid <class 'gen.apache.aurora.api.ttypes."
                                "CronCollisionPolicy'> type: %s" % policy)
        if job.instances().get() > 2 ** 31 - 1:
            raise InvalidConfig("Too many instances: %d" % job.instances().get())
        return warnings

    def check_update_settings(self):
        """What `update start` refuses.  The status is 20: the Aurora client met these as a broken
        program, and scripts know that number."""
        update = self.evaluated()[0].update_config()
        if update is Empty:
            return
        strategy = update.update_strategy()
        if strategy is Empty:
            sizes = [update.batch_size()]
        else:
            chosen = strategy.unwrap() if hasattr(strategy, "unwrap") else strategy
            sizes = list(chosen.batch_sizes()) if hasattr(chosen, "batch_sizes") else \
                [chosen.batch_size()]
        message = None
        if not sizes or any(size.get() <= 0 for size in sizes):
            message = "Batch size should be greater than 0"
        elif update.pulse_interval_secs() is not Empty and \
                update.pulse_interval_secs().get() < MIN_PULSE_SECS:
            message = "Pulse interval seconds must be at least %d seconds." % MIN_PULSE_SECS
        elif strategy is not Empty and update.batch_size().get() > 1:
            message = ("Ambiguous update configuration. Cannot combine update strategy with batch "
                       "size. Please set batch size inside of update strategy instead.")
        elif strategy is not Empty and update.wait_for_batch_completion().get():
            message = ("Ambiguous update configuration. Cannot combine wait_for_batch_completion "
                       "with an explicit update strategy.")
        if message is not None:
            raise GuestError(message, exit=20)

    def _check_update(self):
        try:
            update, instances = self._job.update_config(), self._job.instances().get()
            health = self._job.health_check_config()
            if update is not Empty:
                failures = update.max_total_failures().get()
                if failures >= instances > 0:
                    raise GuestError("max_total_failures in update_config must be lesser than "
                                     "the job size. Based on your job size (%s) you should use "
                                     "max_total_failures <= %s." % (instances, instances - 1),
                                     exit=1)
                if self.is_dedicated() and failures < int(instances * 0.02):
                    raise GuestError("Since this is a dedicated job, you must set your "
                                     "max_total_failures in your update configuration to no less "
                                     "than 2% of your job size.", exit=1)
                _not_negative(update, "watch_secs")
            if health is not Empty:
                for field in ("max_consecutive_failures", "min_consecutive_successes",
                              "initial_interval_secs", "interval_secs"):
                    _not_negative(health, field)
        except TypeError:
            return  # Still open: the type check says so in its words.
        except ValueError as e:
            raise GuestError(text_of(e)) from e

    def _check_announce(self):
        portmap = resolve_portmap(self._static_portmap())
        if any(isinstance(port, int) for port in portmap.values()) and not self.is_dedicated():
            raise GuestError("Job must be dedicated in order to specify static ports!")
        warnings = []
        if self._job.announce() is not Empty:
            primary = _text(self._job.announce().primary_port())
            if primary not in self._named_ports() and not isinstance(portmap.get(primary), int):
                warnings.append("Announcer specified primary port as '%s' but no processes have "
                                "bound that port." % primary)
        if self._job.production() is not Empty and self._job.production().get() is True and \
                self._job.tier() is Empty:
            warnings += DEPRECATED_PRODUCTION
        return warnings

    @staticmethod
    def _check_resources(task):
        resources = task.resources()
        if resources is Empty:
            raise InvalidConfig("Task must specify resources!")
        cpu, ram, disk = (getattr(resources, field)().get() for field in ("cpu", "ram", "disk"))
        if not ram or not disk:
            raise InvalidConfig("Must specify ram and disk resources, got ram:%s disk:%s" % (
                ram, disk))
        if not 0 < cpu < 1e6 or not 0 < ram // MB < 2 ** 40 or not 0 < disk // MB < 2 ** 40:
            raise InvalidConfig(
                "Task has invalid resources.  cpu/ramMb/diskMb must all be positive: "
                "cpu:%s ramMb:%s diskMb:%s" % (cpu, ram // MB, disk // MB))

    @staticmethod
    def _check_constraints(job):
        constraints = job.constraints()
        if constraints is Empty:
            return
        for name in constraints:
            value = _text(constraints[name])
            if value.startswith("limit:"):
                try:
                    int(value[6:])
                except ValueError:
                    print("%s is not a valid limit value, must be integer" % value)
                    raise GuestError("%s is not a valid limit value, must be integer" % value) \
                        from None

    @staticmethod
    def _check_task(task):
        seen = set()
        for process in task.processes():
            name = _text(process.name())
            if name in seen:
                raise InvalidConfig("Task is invalid: Two processes are called %s" % name)
            seen.add(name)
            if not name or name[0] == "." or "/" in name:
                raise InvalidConfig("Task is invalid: Invalid process name: %s" % name)
        instance, unbound = task.bind({"mesos": {"instance": ANY_INSTANCE}}).interpolate()
        result = instance.check()
        if not result.ok():
            raise InvalidConfig("Task is invalid: Failed to fully evaluate task: %s"
                                % result.message())
        constraints = () if task.constraints() is Empty else tuple(task.constraints())
        for final in (False, True):
            Planner([process for process in task.processes()
                     if process.final().get() is final], constraints)
        left = [ref for ref in unbound if not may_stay_open(ref, (
            ".mesos.hostname", ".thermos.task_id", ".thermos.user"))]
        if left:
            raise InvalidConfig("Task is invalid: Unexpected unbound refs: %s. Make sure you are "
                                "not nesting template variables." % _refs(left))

    def to_json(self):
        """What the master is sent."""
        from .jsonio import plain
        job, unbound = self.sent()
        job = plain(job.get())
        _refuse_large_numbers(job)
        return {"key": str(self.job_key()), "job": job, "ports": self.ports(),
                "unbound": sorted(ref.address() for ref in unbound),
                "enable_hooks": self.wants_hooks()}

    def dump(self, instance=None):
        """What evaluation yields, once: for people and tests that look at a file."""
        from .jsonio import plain
        job, unbound = self.evaluated()
        answer = {"key": str(self.job_key()), "job": plain(job.get()), "ports": self.ports(),
                  "unbound": sorted({ref.address() for ref in unbound})}
        if instance is not None:
            task, unbound = self.task(instance).interpolate()
            answer["instance_task"] = plain(task.get())
            answer["instance_unbound"] = sorted({ref.address() for ref in unbound})
        _refuse_large_numbers(answer)
        return answer

    def wants_hooks(self):
        flag = self._job.enable_hooks()
        return flag is not Empty and flag.get() is True


def _refuse_large_numbers(value):
    """Numbers that C cannot hold, or JSON cannot say."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (int, float)):
        if not -2 ** 63 <= value < 2 ** 63:  # False for NaN, too.
            raise InvalidConfig("Number out of range: %s" % value)
    elif not isinstance(value, str) and value is not None:
        for each in value:
            _refuse_large_numbers(each)


def may_stay_open(ref, plain_names):
    return "".join(ref.parts) in plain_names or bool(port_names([ref]))


def _text(value):
    """The text of an evaluated scalar; Empty gives None."""
    return None if value is Empty else str(value.get())


def _refs(refs):
    return " ".join(sorted(str(ref) for ref in refs))


def _not_negative(struct, field):
    value = getattr(struct, field)()
    if value is not Empty and value.get() < 0:
        raise GuestError("Invalid value (%s) specified for %s. Value cannot be less than 0." % (
            value.get(), field), exit=1)


__all__ = ["AuroraConfig", "JobKey", "Plain", "Ref", "Task"]
