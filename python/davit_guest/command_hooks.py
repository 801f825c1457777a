# SPDX-License-Identifier: Apache-2.0
"""Command hooks: what runs around a whole command, before it has contacted anybody.

They come from plugin files, not from configurations, which load later; a plugin
file may fill GlobalHookRegistry as well.  Contract: aurora.md 3.7 with its defects
mended: None, True and 0 let the command go on, False ends it with 1, another number
with that, and every post hook runs.  Not the API's hooks: those are hooks.py.
"""

import sys

from . import log
from .aurora import JobKey, Plain
from .errors import GuestError, named, where
from .hooks import GlobalHookRegistry
from .loader import exit_code
from .python2 import Compiler


class CommandHook:
    """A base for hooks that want one; any object with these methods will do."""

    class Error(Exception):
        def __init__(self, code, msg=""):
            super().__init__(msg)
            self.code = code
            self.msg = msg

    @property
    def name(self):
        return type(self).__name__

    def get_nouns(self):
        raise NotImplementedError("%s.get_nouns" % type(self).__name__)

    def get_verbs(self, noun):
        raise NotImplementedError("%s.get_verbs" % type(self).__name__)

    def pre_command(self, noun, verb, context, argv):
        return 0

    def post_command(self, noun, verb, context, argv, result):
        return None


class GlobalCommandHookRegistry:
    """Every command hook, in the order of registration."""

    COMMAND_HOOKS = []

    @classmethod
    def register_command_hook(cls, hook):
        if isinstance(hook, type):
            hook = hook()
        if name_of(hook) == "all":
            raise ValueError("Invalid hook name 'all'")
        cls.COMMAND_HOOKS.append(hook)

    @classmethod
    def get_hooks(cls):
        return list(cls.COMMAND_HOOKS)

    @classmethod
    def get_command_hooks_for(cls, noun, verb):
        return [hook for hook in cls.COMMAND_HOOKS
                if noun in (hook.get_nouns() or ()) and verb in (hook.get_verbs(noun) or ())]

    @classmethod
    def reset(cls):
        cls.COMMAND_HOOKS = []


class Context:
    """What a hook knows of the command: its options by name, and where to write."""

    def __init__(self, options, operands):
        self.args = list(operands)
        self.options = Plain(**{name.replace("-", "_"): value
                                for name, value in options.items()})
        self.options.jobspec = key_of(operands[0]) if operands else None
        if not hasattr(self.options, "config_file"):
            self.options.config_file = operands[1] if len(operands) > 1 else None

    @staticmethod
    def print_out(text, indent=0):
        print_lines(sys.stdout, text, indent)

    @staticmethod
    def print_err(text, indent=0):
        print_lines(sys.stderr, text, indent)

    @staticmethod
    def print_log(severity, text, *args, **_):
        level = severity if severity in log.LEVELS else \
            {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}.get(severity, "INFO")
        log.write(level, text, *args)


def print_lines(stream, text, indent):
    for line in str(text).split("\n"):
        stream.write("%s%s\n" % (" " * indent, line))


def key_of(text):
    try:
        return JobKey.from_path("/".join(text.split("/")[:4]))
    except (JobKey.Error, AttributeError):
        return None


def name_of(hook):
    name = getattr(hook, "name", None)
    name = name() if callable(name) else name
    return name if isinstance(name, str) else type(hook).__name__


# --- plugin files --------------------------------------------------------------------------------

#: Those of the plugin files: a configuration, which loads later, adds none.
_loaded = []


def load(paths):
    """Run the plugin files, each in a namespace of its own.  Their warnings."""
    compiler = Compiler(True)
    for path in paths:
        scope = {"__name__": "command_hooks", "__file__": path}
        try:
            with open(path, "rb") as fp:
                code = compiler(fp.read(), path)
            exec(code, scope)
            for hook in scope.get("hooks") or ():
                GlobalCommandHookRegistry.register_command_hook(hook)
        except SystemExit as e:
            raise GuestError("%s called exit" % path, kind="exit", exit=exit_code(e)) from None
        except Exception as e:
            file, line = where(e, [path])
            raise GuestError("command hooks of %s: %s" % (path, named(e)), file=file,
                             line=line) from None
    _loaded[:] = GlobalCommandHookRegistry.get_hooks()
    return compiler.warnings


# --- running -------------------------------------------------------------------------------------

def selected(noun, verb, skip):
    """Hooks for this verb that the user did not leave out."""
    left_out = {name.strip() for each in skip for name in each.split(",")}
    if "all" in left_out:
        return []
    hooks = []
    for hook in _loaded:
        try:
            if noun not in (hook.get_nouns() or ()) or verb not in (hook.get_verbs(noun) or ()):
                continue
        except Exception as e:
            raise GuestError("command hook %s: %s" % (name_of(hook), named(e))) from None
        if name_of(hook) not in left_out:
            hooks.append(hook)
    return hooks


def status_of(answer):
    """The status an answer of pre_command ends the command with; 0: it goes on."""
    if answer is None or answer is True:
        return 0
    if isinstance(answer, int) and answer is not False:
        return 0 if answer == 0 else answer & 0xff or 1
    return 1


def code_of(error):
    """CommandHook.Error carries the status; never 0."""
    code = getattr(error, "code", None)
    return code & 0xff or 1 if isinstance(code, int) else 1


def told(hook, event, error):
    """One line (and with -v the traceback) about a hook that raised."""
    log.warn("Error in %s_command in %s: %s", event, name_of(hook), named(error))
    if log.is_verbose():
        import traceback
        log.warn("%s", traceback.format_exc().rstrip())


def run_pre(noun, verb, options, operands, argv, skip):
    """{"status", "message"}: the first hook that does not let the command go on ends it."""
    context = Context(options, operands)
    for hook in selected(noun, verb, skip):
        log.debug("Running pre_command in %s", name_of(hook))
        call = getattr(hook, "pre_command", None)
        if call is None:
            continue
        message = None
        try:
            status = status_of(call(noun, verb, context, list(argv)))
        except CommandHook.Error as e:
            status, message = code_of(e), str(e)
        except SystemExit as e:
            return {"status": exit_code(e), "exit": True, "message": None}
        except Exception as e:
            told(hook, "pre", e)
            status = 1
        if status != 0:
            said = "Command aborted by command hook %s with error code %d" % (
                name_of(hook), status)
            return {"status": status, "message": said, "error": message or None}
    return {"status": 0, "message": None}


def run_post(noun, verb, options, operands, argv, skip, result):
    """{"status"}: every hook runs; the first error's code."""
    context = Context(options, operands)
    status = 0
    for hook in selected(noun, verb, skip):
        log.debug("Running post_command in %s", name_of(hook))
        call = getattr(hook, "post_command", None)
        if call is None:
            continue
        try:
            call(noun, verb, context, list(argv), result)
        except CommandHook.Error as e:
            Context.print_err(str(e))
            status = status or code_of(e)
        except SystemExit as e:
            status = status or exit_code(e)
        except Exception as e:
            told(hook, "post", e)
    return {"status": status}


__all__ = ["CommandHook", "Context", "GlobalCommandHookRegistry", "GlobalHookRegistry", "load",
           "run_post", "run_pre"]
