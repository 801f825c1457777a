# SPDX-License-Identifier: Apache-2.0
"""`from twitter.common import log`, as the documents' own hook example has it."""

from davit_guest.log import (  # noqa: F401
    critical, debug, error, exception, fatal, info, warn, warning)
