"""What happens next: the one place that decides about starting, restarting, stopping and ending.

``Lifecycle.step(happening)`` takes what has happened and gives what is to be done; it acts on nothing else.
The rules:

0. Every host of the plan is asked for, and nothing begins before all of them answer.
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
8. A host that is lost is never used again. Where the policy allows it, its tasks go to the hosts that are left: alone,
   while the others carry on, if the program's sessions can be told where everybody is (``roaming``). Else what is left
   of the old generation is stopped (trainers save if they can), and when nothing of it can be alive there any more,
   everybody starts again: a new *generation*, with new addresses, from the last checkpoint.
9. Workers may come and leave while the others carry on (``scaling``), and a host be left in order (``draining``), under
   the same condition.
10. In a collective, and around a coordinator, those that cannot go on without a task that died are started again with
   it, all together (``shape``). Who only serves is ended when nobody trains any more.
11. Fault drills are carried out when they are due and their task runs, each once. One that never is changes no outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from launcher.lifecycle.clock import next_wakeup
from launcher.lifecycle.ends import agent_renewed, restart_asked, stop_asked
from launcher.lifecycle.hosts.allocating import ask_for_hosts, host_answers, host_granted, host_refused
from launcher.lifecycle.hosts.moves import host_lost
from launcher.lifecycle.reports import ON_TOLD
from launcher.lifecycle.roaming.alone import place_again, tell_lease
from launcher.lifecycle.roaming.draining import drain_host, why_not_drain
from launcher.lifecycle.roaming.scaling import scale, why_not_scale
from launcher.lifecycle.rules import settle
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TRANSITIONS, RunState, TaskRecord, initial
from launcher.lifecycle.values import (
    Action,
    AgentRenewed,
    AskHost,
    Begun,
    DrainAsked,
    End,
    Happening,
    HostAnswers,
    HostGranted,
    HostLost,
    HostRefused,
    LeaveHost,
    LockModelDir,
    OpenLink,
    Place,
    Prepare,
    ProveTask,
    Record,
    RestartAsked,
    ScaleAsked,
    SeeModelDir,
    SetLease,
    SignalTask,
    StartTask,
    StopAsked,
    StopTask,
    TakeStacks,
    TellTask,
    Ticked,
    Told,
    Warm,
)
from launcher.plan.model import Plan
from launcher.record.course.parts import NOTHING_BEFORE, Former
from launcher.wire.roles import TaskId

__all__ = [
    "TRANSITIONS",
    "Action",
    "AgentRenewed",
    "AskHost",
    "Begun",
    "DrainAsked",
    "End",
    "Happening",
    "HostAnswers",
    "HostGranted",
    "HostLost",
    "HostRefused",
    "LeaveHost",
    "Lifecycle",
    "LockModelDir",
    "OpenLink",
    "Place",
    "Prepare",
    "ProveTask",
    "Record",
    "RestartAsked",
    "RunState",
    "ScaleAsked",
    "SeeModelDir",
    "SetLease",
    "SignalTask",
    "StartTask",
    "StopAsked",
    "StopTask",
    "TakeStacks",
    "TaskRecord",
    "TellTask",
    "Ticked",
    "Told",
    "Warm",
]


class Lifecycle:
    """Of one run, or of its next part: decides on nothing but what it is told, so that a story told again ends in the
    same way. ``former``: from where it counts on."""

    def __init__(self, plan: Plan, former: Former = NOTHING_BEFORE) -> None:
        self.state = initial(plan, former)
        self._run = Run(self.state)

    def step(self, happening: Happening) -> tuple[Action, ...]:
        """What is to be done about ``happening``, in order."""
        self._run.now = happening.now
        self._take(happening)
        settle(self._run)
        return self._run.taken_actions()

    def why_not_scale(self, count: int, *, forced: bool) -> str:
        """Why this run cannot have that many workers; empty if it can."""
        return why_not_scale(self._run, count, forced=forced)

    def why_not_drain(self, host: str) -> str:
        """Why that host cannot be drained; empty if it can."""
        return why_not_drain(self._run, host)

    def next_wakeup(self) -> float:
        """When ``Ticked`` is due at the latest (monotonic seconds; infinity: never)."""
        return next_wakeup(self._run)

    def why_no_restart(self, task: TaskId) -> str:
        """Why ``RestartAsked`` would be in vain; empty if it would not."""
        return self._run.why_no_restart(task)

    def _take(self, happening: Happening) -> None:
        run = self._run
        if isinstance(happening, Told):
            handler = ON_TOLD.get(type(happening.body))
            if handler is not None:
                handler(run, happening.host, happening.body)
        elif isinstance(happening, Begun):
            ask_for_hosts(run)
        elif isinstance(happening, RestartAsked):
            restart_asked(run, happening.task)
        elif isinstance(happening, AgentRenewed):
            agent_renewed(run, happening.host)
            place_again(run, happening.host)
            tell_lease(run, happening.host)
        elif (take := _TAKEN.get(type(happening))) is not None:
            take(run, happening)


_TAKEN: Mapping[type[Happening], Callable[[Run, Any], None]] = MappingProxyType(
    {
        HostGranted: host_granted,
        HostRefused: host_refused,
        HostAnswers: host_answers,
        HostLost: host_lost,
        StopAsked: stop_asked,
        ScaleAsked: scale,
        DrainAsked: drain_host,
    }
)
