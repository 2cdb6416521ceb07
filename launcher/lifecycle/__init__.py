"""What happens next: the one place that decides about starting, restarting, stopping and ending.

``step(state, happening)`` is pure: it takes what has happened and gives the new state and what is to be done.
The rules:

1. Every port is reserved and the model_dir is locked, and seen to be the same folder by every host that trains or
   evaluates, before any task starts.
2. Everybody starts at once, and trainers wait for the *gate* before they open a session. The gate is open while each
   parameter server is proven to be the one listener at its address, and
   the folder in which the chief is about to train is locked. Where tasks cannot wait inside (the adjustment
   ``session-gate`` is off, or the command is not Python), the trainers' first start waits for the gate.
3. A task that dies is started again in place, after a back-off, as often as its role may. What would fail again the
   same way (wrong arguments; a second death before the task was ready) is not tried again.
4. The chief saves for the last time when no trainer that may still train is left (the *barrier*).
5. Trainers done, by the success policy: parameter servers are stopped, the evaluator is told to evaluate the last
   checkpoint and end (the *drain*), in bounded time. Then the run ends.
6. Stopping is ordered: trainers, evaluator, parameter servers.
7. The first failure that no restart mended is the cause.
8. A host that is lost is never used again. Where the policy allows it, what is left of the old generation is stopped
   (trainers save if they can), its tasks go to the hosts that are left, and when nothing of it can be alive there any
   more, everybody starts again: a new *generation*, with new addresses, from the last checkpoint.
9. In a collective, and around a coordinator, those that cannot go on without a task that died are started again with
   it, all together (``shape``). Who only serves is ended when nobody trains any more.
10. Fault drills are carried out when they are due and their task runs, each once. One that never is changes no outcome.
"""

from __future__ import annotations

from launcher.lifecycle.clock import next_wakeup
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.ends import agent_renewed, prepare, restart_asked, stop_asked
from launcher.lifecycle.moves import host_lost
from launcher.lifecycle.reports import ON_TOLD
from launcher.lifecycle.rules import settle
from launcher.lifecycle.state import TRANSITIONS, RunState, TaskRecord, initial
from launcher.lifecycle.values import (
    Action,
    AgentRenewed,
    Begun,
    End,
    Happening,
    HostLost,
    LockModelDir,
    Prepare,
    ProveTask,
    Record,
    RestartAsked,
    SeeModelDir,
    SignalTask,
    StartTask,
    StopAsked,
    StopTask,
    TakeStacks,
    TellTask,
    Ticked,
    Told,
)

__all__ = [
    "TRANSITIONS",
    "Action",
    "AgentRenewed",
    "Begun",
    "End",
    "Happening",
    "HostLost",
    "LockModelDir",
    "Prepare",
    "ProveTask",
    "Record",
    "RestartAsked",
    "RunState",
    "SeeModelDir",
    "SignalTask",
    "StartTask",
    "StopAsked",
    "StopTask",
    "TakeStacks",
    "TaskRecord",
    "TellTask",
    "Ticked",
    "Told",
    "initial",
    "next_wakeup",
    "step",
]


def step(state: RunState, happening: Happening) -> tuple[RunState, tuple[Action, ...]]:
    """The state after ``happening``, and what is to be done about it, in order."""
    draft = Draft(state, happening.now)
    _take(draft, happening)
    settle(draft)
    return draft.finished()


def _take(draft: Draft, happening: Happening) -> None:
    if isinstance(happening, Told):
        handler = ON_TOLD.get(type(happening.body))
        if handler is not None:
            handler(draft, happening.host, happening.body)
    elif isinstance(happening, Begun):
        draft.set(began_at=draft.now, progress_at=draft.now)
        prepare(draft)
    elif isinstance(happening, StopAsked):
        stop_asked(draft, happening)
    elif isinstance(happening, RestartAsked):
        restart_asked(draft, happening.task)
    elif isinstance(happening, AgentRenewed):
        agent_renewed(draft, happening.host)
    elif isinstance(happening, HostLost):
        host_lost(draft, happening)
