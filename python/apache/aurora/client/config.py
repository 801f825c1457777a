# SPDX-License-Identifier: Apache-2.0
from davit_guest.aurora import AuroraConfig  # noqa: F401
from davit_guest.hooks import GlobalHookRegistry  # noqa: F401
