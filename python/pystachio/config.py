# SPDX-License-Identifier: Apache-2.0
"""Executing a configuration file and what it includes.  Contract: pystachio.md section 13.

One difference, on purpose: after an include that failed and was caught, later
includes are again relative to the file they stand in.
"""

import posix

MAX_DEPTH = 64


def dirname(path):
    cut = path.rfind("/")
    return path[:cut] or "/" if cut >= 0 else ""


def join(base, path):
    return path if path.startswith("/") or not base else base.rstrip("/") + "/" + path


def exists(path):
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def _compile(source, name):
    return compile(source, name, "exec", dont_inherit=True)


class Config:
    class Error(Exception):
        pass

    class InvalidConfigError(Error):
        pass

    class NotFound(Error):
        pass

    MAX_BYTES = 32 * 1024 * 1024

    def __init__(self, loadable, schema=None, environment=None, allow_include=True, files=None,
                 compiler=None):
        """loadable: a path, an object with read(), or a dict of name -> either.
        schema: program text executed first; environment: names to start with instead.
        files: is told the name of each file, for finding out whose line failed.
        compiler: makes code of (source, name); Python's own when not given."""
        self.loadables = {}
        self.files = [] if files is None else files
        self._current = []
        self._compile = compiler or _compile
        self._allow_include = allow_include
        self.environment = self.default_environment() if environment is None else environment
        if schema is not None:
            exec(compile(schema, "<schema>", "exec"), self.environment)
        self.environment["include"] = self.include
        self.load(loadable)

    @staticmethod
    def default_environment():
        import pystachio
        # The matcher is there only once somebody imported it.
        return {name: value for name, value in vars(pystachio).items()
                if not name.startswith("_") and name != "matcher"}

    def load(self, loadable):
        if isinstance(loadable, dict):
            for each in loadable.values():
                self.load(each)
        elif hasattr(loadable, "read"):
            self._execute(loadable.read(), getattr(loadable, "name", None) or "<stdin>", None)
        else:
            self._load_path(loadable, loadable)

    def _load_path(self, name, path):
        if not exists(path):
            raise Config.NotFound("Could not load resource %s" % name)
        self._execute(self._read(path), name, path)

    def _read(self, path):
        with open(path, "rb") as fp:
            data = fp.read(self.MAX_BYTES + 1)
        if len(data) > self.MAX_BYTES:
            raise Config.InvalidConfigError("%s is larger than %d bytes" % (path, self.MAX_BYTES))
        return data

    def include(self, path):
        here = self._current[-1] if self._current else None
        if here is None or not self._allow_include:
            raise ValueError("You may not include() anything from filelike objects.")
        if len(self._current) >= MAX_DEPTH:
            raise RecursionError("include() of %s is nested deeper than %d files" % (
                path, MAX_DEPTH))
        full = join(dirname(here), path)
        self._execute(self._read(full), path, full)

    def _execute(self, source, name, path):
        self.loadables[name] = source
        self.files.append(name)
        self._current.append(path)
        try:
            exec(self._compile(source, name), self.environment)
        except (SyntaxError, ValueError) as e:
            raise Config.InvalidConfigError(str(e)) from e
        finally:
            self._current.pop()


ConfigContext = Config
