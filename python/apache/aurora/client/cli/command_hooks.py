# SPDX-License-Identifier: Apache-2.0
from davit_guest.command_hooks import CommandHook, GlobalCommandHookRegistry  # noqa: F401
