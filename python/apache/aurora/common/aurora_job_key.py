# SPDX-License-Identifier: Apache-2.0
from davit_guest.aurora import JobKey as AuroraJobKey  # noqa: F401
