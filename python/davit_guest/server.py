# SPDX-License-Identifier: Apache-2.0
"""The guest's side of the channel: one JSON-RPC 2.0 object per line on an inherited descriptor.

    read a line -> call the method -> flush what user code printed -> answer

Calls are served one at a time, in order.  The descriptor is hidden from user
code and from the processes it starts; stdin, stdout and stderr stay the user's.
End of file on the channel ends the process.  Contract: docs/guest-protocol.md.
"""

import posix
import sys

from . import jsonio
from .errors import GuestError, named

PROTOCOL = "davit-guest"
VERSION = 1
MAX_LINE = 16 * 1024 * 1024
HIGH_FD = 1000


class Session:
    """What one peer has loaded."""

    def __init__(self):
        self.config = None
        self.hooks = None
        self.selected = None
        self.plugin_hooks = ()  # API hooks that plugin files registered for every call.

    def hello(self, params):
        if params.get("protocol") != PROTOCOL or params.get("version") != VERSION:
            raise GuestError("this end speaks %s version %d" % (PROTOCOL, VERSION),
                             kind="protocol", code=-32017)
        return {"protocol": PROTOCOL, "version": VERSION, "python": sys.version.split()[0]}

    def config_load(self, params):
        from . import compat, hooks, loader, log
        log.set_verbose(bool(params.get("verbose")))
        compat.install(params.get("python2", True))
        self.config = self.selected = None
        hooks.GlobalHookRegistry.reset(self.plugin_hooks)
        config = loader.LoadedConfig(
            path=params.get("path"), text=params.get("text"), name=params.get("name"),
            binds=params.get("binds") or (), read_json=bool(params.get("read_json")),
            allow_include=params.get("allow_include", True),
            translate=params.get("python2", True))
        self.hooks = hooks.Hooks(config.hooks)
        answer = {"jobs": config.job_paths(), "hooks": self.hooks.names(),
                  "warnings": config.warnings}
        self.config = config
        return answer

    def plugins_load(self, params):
        from . import command_hooks, compat, hooks, log
        log.set_verbose(bool(params.get("verbose")))
        compat.install(True)
        command_hooks.GlobalCommandHookRegistry.reset()
        hooks.GlobalHookRegistry.reset()
        warnings = command_hooks.load(params.get("paths") or ())
        self.plugin_hooks = hooks.GlobalHookRegistry.get_hooks()
        return {"commands": [command_hooks.name_of(hook) for hook in
                             command_hooks.GlobalCommandHookRegistry.get_hooks()],
                "hooks": len(self.plugin_hooks), "warnings": warnings}

    def command_call(self, params):
        from . import command_hooks
        known = [params.get(name) for name in ("noun", "verb", "options", "operands", "argv",
                                               "skip")]
        if params.get("phase") == "pre":
            return command_hooks.run_pre(*known)
        return command_hooks.run_post(*known, params.get("result", 0))

    def _loaded(self):
        if self.config is None:
            raise GuestError("no configuration is loaded", kind="usage", code=GuestError.INVALID)
        return self.config

    def config_select(self, params):
        self.selected, warnings = self._loaded().select(params.get("key"))
        return dict(self.selected.to_json(), warnings=warnings)

    def config_dump(self, params):
        config, warnings = self._loaded().select(params.get("key"))
        return dict(config.dump(params.get("instance")), warnings=warnings)

    def config_lint(self, params):
        from . import lint
        return {"findings": lint.findings(self._loaded())}

    def _chosen(self):
        if self.selected is None:
            raise GuestError("no job is selected", kind="usage", code=GuestError.INVALID)
        return self.selected

    def config_raw(self, params):
        return {"text": repr(self._chosen().job())}

    def config_check_update(self, params):
        self._chosen().check_update_settings()
        return {}

    def _for_call(self, params):
        from . import hooks
        method = params.get("method")
        if method not in hooks.METHODS or method == "update_job":
            raise GuestError("no hookable method %s" % method, kind="usage",
                             code=GuestError.INVALID)
        enabled = self.selected is not None and self.selected.wants_hooks()
        mine = self.hooks or hooks.Hooks(())
        return hooks, method, mine.for_call(enabled)

    def hooks_plan(self, params):
        hooks, method, objects = self._for_call(params)
        return hooks.plan(objects, method)

    def hook_call(self, params):
        hooks, method, objects = self._for_call(params)
        event = params.get("phase")
        if event not in ("pre", "post", "err"):
            raise GuestError("no hook phase %s" % event, kind="usage", code=GuestError.INVALID)
        config = self.selected
        before = config.raw() if config is not None else None
        key = config.job_key() if config is not None and method in (
            "create_job", "start_job_update") else hooks.key_of(params.get("key"))
        answer = hooks.run_phase(
            objects, event, method, params.get("args") or {}, config, key,
            params.get("outcome"), strict=bool(params.get("strict")))
        if event == "pre" and config is not None and config.raw() is not before:
            # A hook changed the job: it must still be one, and the caller sends the new one.
            answer["warnings"] = config.validate()
            answer["config"] = config.to_json()
        return answer

    METHODS = {
        "hello": hello,
        "config.load": config_load,
        "config.select": config_select,
        "config.dump": config_dump,
        "config.lint": config_lint,
        "config.raw": config_raw,
        "config.check_update": config_check_update,
        "hooks.plan": hooks_plan,
        "hook.call": hook_call,
        "plugins.load": plugins_load,
        "command.call": command_call,
    }


def error_answer(code, message, data=None):
    error = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"error": error}


def answer_to(session, message):
    """The answer without its id; None for a notification."""
    method = session.METHODS.get(message.get("method"))
    params = message.get("params")
    if method is None:
        return error_answer(-32601, "no method %s" % message.get("method"))
    if params is None:
        params = {}
    if not isinstance(params, dict):
        return error_answer(-32602, "params must be an object")
    try:
        return {"result": method(session, params)}
    except GuestError as e:
        return error_answer(e.code, str(e), e.data)
    except KeyboardInterrupt:
        return error_answer(-32007, "interrupted", {"kind": "exit", "exit": 130})
    except SystemExit as e:
        from .loader import exit_code
        return error_answer(GuestError.CONFIG, "the configuration called exit",
                            {"kind": "exit", "exit": exit_code(e) or None})
    except BaseException as e:  # User code may raise anything; the channel stays.
        # Evaluating runs the file's code in many places: its objects may do anything, too.
        return error_answer(GuestError.CONFIG if message["method"].startswith("config.") else
                            -32603, named(e))


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # The user closed it; that is theirs.


def encode(answer):
    try:
        text = jsonio.dumps(answer)
    except (TypeError, ValueError) as e:
        return encode(dict(error_answer(-32603, "the answer cannot be sent: %s" % e),
                           jsonrpc="2.0", id=answer["id"]))
    if "\\u0000" in text and jsonio.has_nul(jsonio.plain(answer)):
        return encode(dict(error_answer(
            GuestError.CONFIG, "The configuration was invalid: it holds a NUL character"),
            jsonrpc="2.0", id=answer["id"]))
    return text.encode("utf-8", "replace") + b"\n"


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view):]


def read_lines(fd):
    buffered = b""
    while True:
        chunk = posix.read(fd, 65536)
        if not chunk:
            return
        buffered += chunk
        if len(buffered) > MAX_LINE:
            raise ValueError("a line longer than %d bytes" % MAX_LINE)
        if b"\n" in chunk:
            *lines, buffered = buffered.split(b"\n")
            for line in lines:
                if line.strip():
                    yield line


def serve(fd):
    session = Session()
    for line in read_lines(fd):
        try:
            message = jsonio.loads(line.decode("utf-8"))
        except ValueError as e:
            answer = dict(error_answer(-32700, str(e)), jsonrpc="2.0", id=None)
            write_all(fd, encode(answer))
            return 1
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or \
                not isinstance(message.get("method"), str):
            write_all(fd, encode(dict(error_answer(-32600, "not a JSON-RPC 2.0 call"),
                                      jsonrpc="2.0", id=None)))
            continue
        answer = answer_to(session, message)
        flush_output()
        if "id" in message:
            write_all(fd, encode(dict(answer, jsonrpc="2.0", id=message["id"])))
    return 0


def channel():
    """The inherited descriptor, hidden from what user code starts."""
    number = posix.environ.pop(b"DAVIT_GUEST_FD", None)
    if number is None or not number.isdigit():
        raise SystemExit("davit_guest is started by davit programs (DAVIT_GUEST_FD is not set)")
    posix.unsetenv(b"DAVIT_GUEST_FD")
    fd = int(number)
    try:
        # Out of the way of files that close or reuse the low numbers.
        high = posix.dup2(fd, HIGH_FD, inheritable=False)
        posix.close(fd)
        return high
    except OSError:  # A limit below it.
        posix.set_inheritable(fd, False)
        return fd


def main():
    sys.setrecursionlimit(4000)
    fd = channel()
    try:
        status = serve(fd)
    except KeyboardInterrupt:
        status = 130
    except (BrokenPipeError, ConnectionResetError):
        status = 0
    except OSError:  # The file closed the channel.
        status = 1
    flush_output()
    posix._exit(status)
