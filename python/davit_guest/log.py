# SPDX-License-Identifier: Apache-2.0
"""The client's log as hooks and configurations see it: `INFO] text` lines on stderr."""

import sys

LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}

threshold = LEVELS["INFO"]


def set_verbose(verbose):
    global threshold
    threshold = LEVELS["DEBUG" if verbose else "INFO"]


def is_verbose():
    return threshold <= LEVELS["DEBUG"]


def write(level, message, *args):
    if LEVELS[level] < threshold:
        return
    text = str(message)
    if args:
        text = text % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args)
    for line in text.split("\n"):
        sys.stderr.write("%5s] %s\n" % (level, line))
    sys.stderr.flush()


def debug(message, *args, **_):
    write("DEBUG", message, *args)


def info(message, *args, **_):
    write("INFO", message, *args)


def warn(message, *args, **_):
    write("WARN", message, *args)


warning = warn


def error(message, *args, **_):
    write("ERROR", message, *args)


def fatal(message, *args, **_):
    write("FATAL", message, *args)


critical = fatal


def exception(message, *args, **_):
    import traceback
    write("ERROR", message, *args)
    write("ERROR", "%s", traceback.format_exc().rstrip())
