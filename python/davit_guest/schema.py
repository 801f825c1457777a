# SPDX-License-Identifier: Apache-2.0
"""The types and helpers every `.aurora` file starts with.  Contract: aurora.md 2.3 and 2.4."""

from pystachio import (
    Boolean, Choice, Default, Empty, Enum, Float, Integer, List, Map, Required, String, Struct)

BYTES = 1
KB = 1024 * BYTES
MB = 1024 * KB
GB = 1024 * MB
TB = 1024 * GB

AURORA_EXECUTOR_NAME = "AuroraExecutor"


# --- what runs in a task -----------------------------------------------------------------------

class ThermosContext(Struct):
    task_id = String
    user = String
    ports = Map(String, Integer)


class Resources(Struct):
    cpu = Required(Float)
    ram = Required(Integer)
    disk = Required(Integer)
    gpu = Default(Integer, 0)


class Constraint(Struct):
    order = List(String)


class RotatePolicy(Struct):
    log_size = Default(Integer, 100 * MB)
    backups = Default(Integer, 5)


LoggerDestination = Enum("LoggerDestination", ("file", "console", "both", "none"))
LoggerMode = Enum("LoggerMode", ("standard", "rotate"))


class Logger(Struct):
    destination = Default(LoggerDestination, "file")
    mode = Default(LoggerMode, "standard")
    rotate = RotatePolicy


class Process(Struct):
    cmdline = Required(String)
    name = Required(String)
    resources = Resources
    max_failures = Default(Integer, 1)
    daemon = Default(Boolean, False)
    ephemeral = Default(Boolean, False)
    min_duration = Default(Integer, 5)
    final = Default(Boolean, False)
    logger = Logger


class Task(Struct):
    name = Default(String, "{{processes[0].name}}")
    processes = List(Process)
    constraints = Default(List(Constraint), [])
    resources = Resources
    max_failures = Default(Integer, 1)
    max_concurrency = Default(Integer, 0)
    finalization_wait = Default(Integer, 30)
    user = String


# --- the job around it -------------------------------------------------------------------------

class MesosContext(Struct):
    role = Required(String)
    cluster = Required(String)
    instance = Required(Integer)
    hostname = String


class QueueUpdateStrategy(Struct):
    batch_size = Default(Integer, 1)


class BatchUpdateStrategy(Struct):
    batch_size = Default(Integer, 1)
    autopause_after_batch = Default(Boolean, False)


class VariableBatchUpdateStrategy(Struct):
    batch_sizes = Required(List(Integer))
    autopause_after_batch = Default(Boolean, False)


class UpdateConfig(Struct):
    batch_size = Default(Integer, 1)
    watch_secs = Default(Integer, 45)
    max_per_shard_failures = Default(Integer, 0)
    max_total_failures = Default(Integer, 0)
    rollback_on_failure = Default(Boolean, True)
    wait_for_batch_completion = Default(Boolean, False)
    pulse_interval_secs = Integer
    sla_aware = Default(Boolean, False)
    update_strategy = Choice(
        [QueueUpdateStrategy, BatchUpdateStrategy, VariableBatchUpdateStrategy])


class HttpHealthChecker(Struct):
    endpoint = Default(String, "/health")
    expected_response = Default(String, "ok")
    expected_response_code = Default(Integer, 0)


class ShellHealthChecker(Struct):
    shell_command = Required(String)


class HealthCheckerConfig(Struct):
    http = HttpHealthChecker
    shell = ShellHealthChecker


DefaultHealthChecker = HealthCheckerConfig(http=HttpHealthChecker())


class HealthCheckConfig(Struct):
    health_checker = Default(HealthCheckerConfig, DefaultHealthChecker)
    initial_interval_secs = Default(Float, 15.0)
    interval_secs = Default(Float, 10.0)
    max_consecutive_failures = Default(Integer, 0)
    min_consecutive_successes = Default(Integer, 1)
    timeout_secs = Default(Float, 1.0)


class HttpLifecycleConfig(Struct):
    port = Default(String, "health")
    graceful_shutdown_endpoint = Default(String, "/quitquitquit")
    shutdown_endpoint = Default(String, "/abortabortabort")
    graceful_shutdown_wait_secs = Default(Integer, 5)
    shutdown_wait_secs = Default(Integer, 5)


class LifecycleConfig(Struct):
    http = HttpLifecycleConfig


DisableLifecycle = LifecycleConfig()
DefaultLifecycleConfig = LifecycleConfig(http=HttpLifecycleConfig())


class Announcer(Struct):
    primary_port = Default(String, "http")
    portmap = Default(Map(String, String), {"aurora": "{{primary_port}}"})
    zk_path = String


class Parameter(Struct):
    name = Required(String)
    value = Required(String)


class Docker(Struct):
    image = Required(String)
    parameters = Default(List(Parameter), [])


class Container(Struct):
    docker = Docker


class AppcImage(Struct):
    name = Required(String)
    image_id = Required(String)


class DockerImage(Struct):
    name = Required(String)
    tag = Required(String)


Mode = Enum("RO", "RW")


class Volume(Struct):
    container_path = Required(String)
    host_path = Required(String)
    mode = Required(Mode)


class Mesos(Struct):
    image = Choice([AppcImage, DockerImage])
    volumes = Default(List(Volume), [])


class Metadata(Struct):
    key = Required(String)
    value = Required(String)


class ExecutorConfig(Struct):
    name = Default(String, AURORA_EXECUTOR_NAME)
    data = Default(String, "")


class PartitionPolicy(Struct):
    reschedule = Default(Boolean, True)
    delay_secs = Default(Integer, 0)


class PercentageSlaPolicy(Struct):
    percentage = Required(Float)
    duration_secs = Required(Integer)


class CountSlaPolicy(Struct):
    count = Required(Integer)
    duration_secs = Required(Integer)


class CoordinatorSlaPolicy(Struct):
    coordinator_url = Required(String)
    status_key = Default(String, "drain")


class MesosTaskInstance(Struct):
    task = Required(Task)
    instance = Required(Integer)
    role = Required(String)
    announce = Announcer
    environment = Required(String)
    health_check_config = Default(HealthCheckConfig, HealthCheckConfig())
    lifecycle = LifecycleConfig


class MesosJob(Struct):
    name = Default(String, "{{task.name}}")
    role = Required(String)
    contact = String
    cluster = Required(String)
    environment = Required(String)
    instances = Default(Integer, 1)
    task = Required(Task)
    announce = Announcer
    tier = String
    cron_schedule = String
    cron_timezone = String
    cron_collision_policy = Default(String, "KILL_EXISTING")
    update_config = Default(UpdateConfig, UpdateConfig())
    constraints = Map(String, String)
    service = Default(Boolean, False)
    max_task_failures = Default(Integer, 1)
    production = Default(Boolean, False)
    priority = Default(Integer, 0)
    health_check_config = Default(HealthCheckConfig, HealthCheckConfig())
    lifecycle = Default(LifecycleConfig, DefaultLifecycleConfig)
    task_links = Map(String, String)
    enable_hooks = Default(Boolean, False)
    container = Choice([Container, Docker, Mesos])
    metadata = Default(List(Metadata), [])
    executor_config = Default(ExecutorConfig, ExecutorConfig())
    partition_policy = PartitionPolicy
    sla_policy = Choice([CoordinatorSlaPolicy, CountSlaPolicy, PercentageSlaPolicy])


Job = MesosJob
Service = Job(service=True)


# --- helpers -----------------------------------------------------------------------------------

class Units:
    """Sums and maxima over resources."""

    FIELDS = ("cpu", "ram", "disk", "gpu")

    @classmethod
    def _combine(cls, resources, function):
        given = [each for each in resources if each is not Empty]
        if not given:
            return Empty
        return Resources(**{field: function([getattr(each, field)().get() for each in given])
                            for field in cls.FIELDS})

    @classmethod
    def resources_sum(cls, *resources):
        return cls._combine(resources, sum)

    @classmethod
    def resources_max(cls, *resources):
        return cls._combine(resources, max)

    @classmethod
    def finalization_wait_sum(cls, waits):
        return sum(wait.get() for wait in waits)

    @classmethod
    def finalization_wait_max(cls, waits):
        return max([wait.get() for wait in waits] or [0])


class Processes:
    """Order between processes."""

    @staticmethod
    def _name(process):
        if isinstance(process, Process):
            return process.name()
        if isinstance(process, (str, String)):
            return process
        raise ValueError("Unknown value for process order: %s" % (process,))

    @classmethod
    def order(cls, *processes):
        return [Constraint(order=[cls._name(process) for process in processes])]


class Tasks:
    """Tasks made of tasks."""

    @staticmethod
    def _processes(tasks):
        """Every process, evaluated in its own task."""
        return [process for task in tasks if task.processes() is not Empty
                for process in task.processes()]

    @staticmethod
    def _constraints(tasks):
        """Every constraint once, in order of appearance."""
        found = {}
        for task in tasks:
            for each in () if task.constraints() is Empty else task.constraints():
                chain = () if each.order() is Empty else tuple(map(str, each.order()))
                found.setdefault(chain, each)
        return list(found.values())

    @classmethod
    def combine(cls, *tasks, **kw):
        if not tasks:
            return Task(**kw)
        fields = {
            "processes": cls._processes(tasks),
            "constraints": cls._constraints(tasks),
            "resources": Units.resources_sum(*(task.resources() for task in tasks)),
            "finalization_wait": Units.finalization_wait_max(
                [task.finalization_wait() for task in tasks]),
        }
        fields.update(kw)
        return tasks[-1](**fields)

    @classmethod
    def concat(cls, *tasks, **kw):
        if not tasks:
            return Task(**kw)
        constraints = cls._constraints(tasks)
        for before, after in zip(tasks, tasks[1:]):
            constraints.extend(
                Constraint(order=[first.name(), second.name()])
                for first in before.processes() for second in after.processes())
        fields = {
            "processes": cls._processes(tasks),
            "constraints": constraints,
            "resources": Units.resources_max(*(task.resources() for task in tasks)),
            "finalization_wait": Units.finalization_wait_sum(
                [task.finalization_wait() for task in tasks]),
        }
        fields.update(kw)
        return tasks[-1](**fields)

    @classmethod
    def simple(cls, name, command):
        return Task(
            name=name,
            processes=[Process(name=name, cmdline=command)],
            resources=Resources(cpu=1.0, ram=1 * GB, disk=1 * GB))

    @classmethod
    def sequential(cls, task):
        if task.constraints() is not Empty and tuple(task.constraints()):
            raise ValueError(
                "Cannot turn a Task with existing constraints into a SequentialTask!")
        processes = task.processes()
        names = [] if processes is Empty else [process.name() for process in processes]
        return task(constraints=[Constraint(order=names)] if len(names) > 1 else [])


def SimpleTask(name, command):
    return Tasks.simple(name, command)


def SequentialTask(*args, **kw):
    return Tasks.sequential(Task(*args, **kw))


class Options:
    """Command line options out of names and values."""

    @staticmethod
    def _join(dash, args, kw):
        given = []
        for arg in args:
            given.extend(arg.items() if isinstance(arg, dict) else [(arg, None)])
        given.extend(kw.items())
        return " ".join("%s%s %s" % (dash(name), name, value) if value else
                        "%s%s" % (dash(name), name) for name, value in given)

    @classmethod
    def java(cls, *args, **kw):
        return cls._join(lambda name: "-", args, kw)

    @classmethod
    def python(cls, *args, **kw):
        return cls._join(lambda name: "--" if len(str(name)) > 1 else "-", args, kw)


order = Processes.order
combine_tasks = Tasks.combine
concat_tasks = Tasks.concat
java_options = Options.java
python_options = Options.python

#: The names a task program sees that are thermos's, and those that are Aurora's.
THERMOS_NAMES = (
    "BYTES KB MB GB TB Constraint Logger LoggerDestination LoggerMode Options Process Processes "
    "Resources RotatePolicy SequentialTask SimpleTask Task Tasks ThermosContext Units "
    "combine_tasks concat_tasks java_options order python_options").split()
AURORA_NAMES = (
    "AURORA_EXECUTOR_NAME Announcer AppcImage BatchUpdateStrategy Container CoordinatorSlaPolicy "
    "CountSlaPolicy DefaultHealthChecker DefaultLifecycleConfig DisableLifecycle Docker "
    "DockerImage ExecutorConfig HealthCheckConfig HealthCheckerConfig HttpHealthChecker "
    "HttpLifecycleConfig Job LifecycleConfig Mesos MesosContext MesosJob MesosTaskInstance "
    "Metadata Mode Parameter PartitionPolicy PercentageSlaPolicy QueueUpdateStrategy Service "
    "ShellHealthChecker UpdateConfig VariableBatchUpdateStrategy Volume").split()


def names():
    """A fresh table of everything a configuration file starts with."""
    from pystachio.config import Config
    table = Config.default_environment()
    here = globals()
    for name in THERMOS_NAMES + AURORA_NAMES:
        table[name] = here[name]
    return table
