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
8. A host that is lost is never used again. Where the policy allows it, what is left of the old generation is stopped
   (trainers save if they can), its tasks go to the hosts that are left, and when nothing of it can be alive there any
   more, everybody starts again: a new *generation*, with new addresses, from the last checkpoint.
9. In a collective, and around a coordinator, those that cannot go on without a task that died are started again with
   it, all together (``shape``). Who only serves is ended when nobody trains any more.
10. Fault drills are carried out when they are due and their task runs, each once. One that never is changes no outcome.
"""

from __future__ import annotations

from launcher.lifecycle.clock import next_wakeup
from launcher.lifecycle.ends import agent_renewed, restart_asked, stop_asked
from launcher.lifecycle.hosts.allocating import ask_for_hosts, host_answers, host_granted, host_refused
from launcher.lifecycle.hosts.moves import host_lost
from launcher.lifecycle.reports import ON_TOLD
from launcher.lifecycle.rules import settle
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TRANSITIONS, RunState, TaskRecord, initial
from launcher.lifecycle.values import (
    Action,
    AgentRenewed,
    AskHost,
    Begun,
    End,
    Happening,
    HostAnswers,
    HostGranted,
    HostLost,
    HostRefused,
    LeaveHost,
    LockModelDir,
    OpenLink,
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
from launcher.plan.model import Plan

__all__ = [
    "TRANSITIONS",
    "Action",
    "AgentRenewed",
    "AskHost",
    "Begun",
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
]


class Lifecycle:
    """Of one run: decides on nothing but what it is told, so that a story told again ends in the same way."""

    def __init__(self, plan: Plan) -> None:
        self.state = initial(plan)
        self._run = Run(self.state)

    def step(self, happening: Happening) -> tuple[Action, ...]:
        """What is to be done about ``happening``, in order."""
        self._run.now = happening.now
        self._take(happening)
        settle(self._run)
        return self._run.taken_actions()

    def next_wakeup(self) -> float:
        """When ``Ticked`` is due at the latest (monotonic seconds; infinity: never)."""
        return next_wakeup(self._run)

    def _take(self, happening: Happening) -> None:
        run = self._run
        if isinstance(happening, Told):
            handler = ON_TOLD.get(type(happening.body))
            if handler is not None:
                handler(run, happening.host, happening.body)
        elif isinstance(happening, Begun):
            ask_for_hosts(run)
        elif isinstance(happening, HostGranted):
            host_granted(run, happening)
        elif isinstance(happening, HostRefused):
            host_refused(run, happening)
        elif isinstance(happening, HostAnswers):
            host_answers(run, happening)
        elif isinstance(happening, StopAsked):
            stop_asked(run, happening)
        elif isinstance(happening, RestartAsked):
            restart_asked(run, happening.task)
        elif isinstance(happening, AgentRenewed):
            agent_renewed(run, happening.host)
        elif isinstance(happening, HostLost):
            host_lost(run, happening)
