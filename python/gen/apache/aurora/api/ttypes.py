# SPDX-License-Identifier: Apache-2.0
"""The API's enums and the structs that hooks compare with."""

from davit_guest.api import Response, ResponseCode, ResponseDetail, enum  # noqa: F401
from davit_guest.aurora import Plain

ScheduleStatus = enum(
    "ScheduleStatus", ("INIT", 11), ("THROTTLED", 16), ("PENDING", 0), ("ASSIGNED", 9),
    ("STARTING", 1), ("RUNNING", 2), ("FINISHED", 3), ("PREEMPTING", 13), ("RESTARTING", 12),
    ("DRAINING", 17), ("FAILED", 4), ("KILLED", 5), ("KILLING", 6), ("LOST", 7),
    ("PARTITIONED", 18))
CronCollisionPolicy = enum(
    "CronCollisionPolicy", ("KILL_EXISTING", 0), ("CANCEL_NEW", 1), ("RUN_OVERLAP", 2))
JobUpdateStatus = enum(
    "JobUpdateStatus", ("ROLLING_FORWARD", 0), ("ROLLING_BACK", 1), ("ROLL_FORWARD_PAUSED", 2),
    ("ROLL_BACK_PAUSED", 3), ("ROLLED_FORWARD", 4), ("ROLLED_BACK", 5), ("ABORTED", 6),
    ("ERROR", 7), ("FAILED", 8), ("ROLL_FORWARD_AWAITING_PULSE", 9),
    ("ROLL_BACK_AWAITING_PULSE", 10))
MaintenanceMode = enum(
    "MaintenanceMode", ("NONE", 1), ("SCHEDULED", 2), ("DRAINING", 3), ("DRAINED", 4))


class JobKey(Plain):
    def __init__(self, role=None, environment=None, name=None):
        Plain.__init__(self, role=role, environment=environment, name=name)
