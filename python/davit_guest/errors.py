# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, in the words the CLI prints."""

from pystachio.config import Config


MAX_TEXT = 10000  # Of an error; nobody reads more, and the channel's lines have a cap.


class GuestError(Exception):
    """An answer to the caller: message, what kind, and where in which file."""

    #: JSON-RPC numbers of davit's ERR_* codes (docs/guest-protocol.md).
    CONFIG = -32011
    INVALID = -32001
    NOTFOUND = -32002
    INTERNAL = -32010

    def __init__(self, message, kind="config", code=CONFIG, file=None, line=None, exit=None):
        super().__init__(message)
        self.code = code
        self.data = {"kind": kind, "message": message}
        if file is not None:
            self.data["file"] = file
        if line is not None:
            self.data["line"] = line
        if exit is not None:
            self.data["exit"] = exit


class InvalidConfig(GuestError):
    """The job as a whole does not hold together."""

    def __init__(self, message):
        super().__init__("The configuration was invalid: %s" % message)


def where(error, files):
    """(file, line) of the innermost line of a configuration file that led to error."""
    while isinstance(error, Config.InvalidConfigError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename is not None:
        return error.filename, error.lineno
    found = None, None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            found = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return found


def text_of(error):
    """One line, never empty, for an exception of user code."""
    try:
        text = str(error)
    except Exception:
        text = ""  # Its own __str__ is broken.
    if isinstance(error, (KeyError, AssertionError, StopIteration)) or not text.strip():
        text = "%s: %s" % (type(error).__name__, text) if text.strip() else type(error).__name__
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "..."
    return " ".join(text.split("\n")) if "\n" in text else text


def named(error):
    """The same with the exception's type in front, once."""
    text, name = text_of(error), type(error).__name__
    return text if text == name or text.startswith(name + ": ") else "%s: %s" % (name, text)
