"""What decides about success, restarts and time-outs of a run. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from launcher.wire.roles import Role


class Success(str, Enum):
    """Who decides that the training has succeeded."""

    CHIEF = "chief"
    ALL_WORKERS = "all_workers"


class UsedUp(str, Enum):
    """What a worker's or the evaluator's final failure means for the run."""

    FAIL = "fail"  # the run fails at once
    FAIL_AT_END = "fail_at_end"  # training goes on to its end, then the run has failed
    GO_ON = "go_on"  # the others go on, and decide

    def __str__(self) -> str:
        return self.value


DEFAULT_USED_UP: Mapping[Role, UsedUp] = MappingProxyType(
    {Role.PS: UsedUp.FAIL, Role.CHIEF: UsedUp.FAIL, Role.WORKER: UsedUp.GO_ON, Role.EVALUATOR: UsedUp.FAIL_AT_END}
)


DEFAULT_RESTARTS: Mapping[Role, int] = MappingProxyType({Role.PS: 3, Role.CHIEF: 3, Role.WORKER: 5, Role.EVALUATOR: 3})


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What decides about success, restarts and time-outs of a run. Times in seconds; None: no bound.

    ``restarts`` counts those of the last ``restart_window_s``; ``used_up``: what it means that a task of a role has
    failed for good; ``lost_hosts``: how many hosts may be lost before that fails the run; ``log_limit_mib``: what is
    kept of each task's output.
    """

    success: Success = Success.CHIEF
    restarts: Mapping[Role, int] = field(default_factory=lambda: DEFAULT_RESTARTS)
    restart_window_s: float | None = 86400.0
    used_up: Mapping[Role, UsedUp] = field(default_factory=lambda: DEFAULT_USED_UP)
    lost_hosts: int = 3
    backoff_s: float = 1.0
    start_timeout_s: float = 300.0
    hang_timeout_s: float | None = 1800.0
    timeout_s: float | None = None
    evaluator_drain_s: float = 900.0
    grace_s: float = 30.0
    lease_s: float = 3.0
    log_limit_mib: int = 1024
