# SPDX-License-Identifier: Apache-2.0
"""Sets of states, and names, that scripts import."""

from gen.apache.aurora.api.ttypes import ScheduleStatus as _S

AURORA_EXECUTOR_NAME = "AuroraExecutor"
GOOD_IDENTIFIER_PATTERN = "^[\\w\\-\\.]+$"
GOOD_IDENTIFIER_PATTERN_PYTHON = GOOD_IDENTIFIER_PATTERN

ACTIVE_STATES = frozenset((_S.ASSIGNED, _S.DRAINING, _S.KILLING, _S.PENDING, _S.PREEMPTING,
                           _S.RESTARTING, _S.RUNNING, _S.STARTING, _S.THROTTLED, _S.PARTITIONED))
SLAVE_ASSIGNED_STATES = frozenset((_S.ASSIGNED, _S.DRAINING, _S.KILLING, _S.PREEMPTING,
                                   _S.RESTARTING, _S.RUNNING, _S.STARTING, _S.PARTITIONED))
LIVE_STATES = frozenset((_S.KILLING, _S.PREEMPTING, _S.RESTARTING, _S.DRAINING, _S.RUNNING,
                         _S.PARTITIONED))
TERMINAL_STATES = frozenset((_S.FAILED, _S.FINISHED, _S.KILLED, _S.LOST))
