"""How a run stands, and what that means for its tasks; nothing here changes anything.

A run has a *generation*, which is a cluster with its addresses; that has a record for each task; and that has its
present *attempt*, which is one process. A new one of each begins as a fresh value.
"""

from launcher.lifecycle.state.account import Account, Scaling
from launcher.lifecycle.state.hosts import HostRecord, HostState
from launcher.lifecycle.state.run_state import (
    SHUT,
    DrillRecord,
    Generation,
    Move,
    Outage,
    RunState,
    Training,
    initial,
)
from launcher.lifecycle.state.task import Attempt, Past, TaskRecord
from launcher.lifecycle.state.transitions import NOT_READY, PHASES, TRANSITIONS

__all__ = [
    "NOT_READY",
    "PHASES",
    "SHUT",
    "TRANSITIONS",
    "Account",
    "Attempt",
    "DrillRecord",
    "Generation",
    "HostRecord",
    "HostState",
    "Move",
    "Outage",
    "Past",
    "RunState",
    "Scaling",
    "TaskRecord",
    "Training",
    "deadlines",
    "initial",
    "roster",
    "shape",
]
