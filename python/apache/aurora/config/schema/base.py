# SPDX-License-Identifier: Apache-2.0
"""Everything a configuration file starts with, for modules that are imported by one."""

from davit_guest.schema import names as _names

globals().update((name, value) for name, value in _names().items() if name != "include")
