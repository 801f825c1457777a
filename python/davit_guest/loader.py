# SPDX-License-Identifier: Apache-2.0
"""A configuration file, evaluated: its jobs by key, and its hooks.

Each job's key is evaluated once per loaded file, so that selecting every job of
a file one by one stays linear in their number.
Contract: pystachio.md section 14 steps 1 to 3.
"""

from pystachio import Empty, Ref
from pystachio.config import Config

from . import python2
from .aurora import AuroraConfig, JobKey, is_identifier
from .errors import GuestError, text_of, where
from .schema import Job, names

MISSING = "{MISSING}"


class LoadedConfig:
    def __init__(self, path=None, text=None, name=None, binds=(), read_json=False,
                 allow_include=True, translate=True):
        self._binds = [self._binding(each) for each in binds]
        self._files = []
        self._sources = {}
        self._compiler = python2.Compiler(translate)
        self.warnings = self._compiler.warnings
        self._keys = None
        if read_json:
            self.environment = self._from_json(path, text, name)
        else:
            self.environment = self._execute(path, text, name, allow_include)
        self._jobs = self._list("jobs")
        self.hooks = self._list("hooks")

    @staticmethod
    def _binding(pair):
        name, value = pair
        try:
            return {Ref.from_address(name): str(value)}
        except Ref.InvalidRefError as e:
            raise GuestError("Could not parse binding parameter %s=%s: %s" % (name, value, e),
                             kind="usage", code=GuestError.INVALID) from None

    def _execute(self, path, text, name, allow_include):
        source = _Text(text, name or "<text>") if text is not None else path
        environment = names()
        try:
            self._sources = Config(source, environment=environment, allow_include=allow_include,
                                   files=self._files, compiler=self._compiler).loadables
        except Config.NotFound:
            raise GuestError("[Errno 2] No such file or directory: '%s'" % path) from None
        except SystemExit as e:
            # Not with 0, which would say that what was asked for is done.
            raise GuestError("%s called exit" % (path or name), kind="exit",
                             exit=exit_code(e) or None) from None
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            raise self._placed(e) from e
        return environment

    def _placed(self, error):
        file, line = where(error, self._files)
        return GuestError(text_of(error), file=file, line=line)

    @staticmethod
    def _from_json(path, text, name):
        from .jsonio import loads
        try:
            if text is None:
                with open(path, encoding="utf-8") as fp:
                    text = fp.read()
            data = loads(text)
            if not isinstance(data, dict):
                raise ValueError("expected a job or {\"jobs\": [...]}")
            jobs = data["jobs"] if "jobs" in data else [data]
            return {"jobs": [Job(job) for job in jobs]}
        except OSError as e:
            raise GuestError(text_of(e)) from e
        except (ValueError, AttributeError, TypeError) as e:
            raise GuestError("%s: %s" % (path or name, text_of(e)), file=path or name) from e

    def _list(self, name):
        value = self.environment.get(name, [])
        if value is None:
            value = []
        try:
            value = list(value)
        except TypeError:
            raise GuestError("`%s` must be a list, not %r" % (name, value)) from None
        if name == "jobs":
            for each in value:
                # By its fields, not its type: `class Mine(Job)` is a type of its own.
                if "task" not in getattr(type(each), "TYPEMAP", ()):
                    raise GuestError("`jobs` holds something that is no Job: %s" % (
                        " ".join(repr(each).split())[:100]))
        return value

    # --- keys --------------------------------------------------------------

    def keys(self):
        """[(cluster, role, env or None, name)] in file order."""
        if self._keys is None:
            self._keys = [self._key(job) for job in self._jobs]
            self._by_key = {}
            for at, key in enumerate(self._keys):
                self._by_key.setdefault(key, []).append(at)
        return self._keys

    def _key(self, job):
        job = job.bind(*self._binds)
        try:
            return tuple(None if field is Empty else str(field.get()) for field in (
                job.cluster(), job.role(), job.environment(), job.name()))
        except Exception as e:
            raise self._placed(e) from e

    @staticmethod
    def path_of(key):
        return "/".join(MISSING if part is None else part for part in key)

    def job_paths(self):
        return [self.path_of(key) for key in self.keys()]

    def raw_jobs(self):
        return list(self._jobs)

    def divisions(self):
        """(file, line) of each `/` between whole numbers written out."""
        return [(name, line) for name, source in self._sources.items()
                for line in python2.divisions(source, name)]

    # --- selecting ---------------------------------------------------------

    def _candidates(self):
        return "\n".join(["Candidates are:"] + [
            "  " + self.path_of(key) for key in self.keys() if key[2] is not None])

    def _find(self, key):
        if not self._jobs:
            raise GuestError("No job defined in this config!")
        if key is None:
            if len(self._jobs) > 1:
                raise GuestError("Multiple jobs match, please disambiguate by specifying a job "
                                 "key.\n%s" % self._candidates())
            return self._jobs[0]
        wanted = tuple(key.split("/"))
        if len(wanted) != 4:
            raise GuestError("Invalid job key '%s'" % key, kind="usage", code=GuestError.INVALID)
        # Without an environment it cannot be selected; without another part it is told which.
        wanted = tuple(None if part == MISSING and at != 2 else part
                       for at, part in enumerate(wanted))
        self.keys()
        found = self._by_key.get(wanted, [])
        if not found:
            lines = ["Could not find job %s" % key]
            for each in self.keys():
                if each[2] is None:
                    lines.append("Job %s in configuration file doesn't specify an environment"
                                 % self.path_of(each))
            raise GuestError("\n".join(lines + [self._candidates()]))
        if len(found) > 1:
            raise GuestError("Multiple jobs match, please disambiguate by specifying a job key.\n"
                             + self._candidates())
        for kind, value in zip(("role", "environment", "name"), wanted[1:]):
            if value is not None and not is_identifier(value):
                raise GuestError("Invalid %s '%s'" % (kind, value))
        return self._jobs[found[0]]

    def select(self, key):
        """(AuroraConfig, warnings)"""
        job = self._find(key)
        try:
            config = AuroraConfig(job.bind(*self._binds), self.hooks)
            return config, config.validate()
        except GuestError:
            raise
        except Exception as e:
            raise self._placed(e) from e


class _Text:
    """File-like: text that came over the channel."""

    def __init__(self, text, name):
        self._text = text
        self.name = name

    def read(self):
        return self._text


def exit_code(error):
    """The status a SystemExit ends the program with."""
    code = error.code
    if code is None:
        return 0
    return code & 0xff if isinstance(code, int) else 1


__all__ = ["JobKey", "LoadedConfig", "exit_code"]
