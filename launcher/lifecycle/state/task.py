"""What is known of a task, and of its present process."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from launcher.lifecycle.state.transitions import RUNNING
from launcher.plan.model import PlannedTask
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.roles import TaskId


@dataclass(kw_only=True, eq=False)
class Attempt:
    """One process of a task, from its start on; the next one begins afresh. Times in monotonic seconds.

    ``number``: counts on through all generations, 0 before the first. ``running``: its process is there; ``ready``:
    it has been ready; ``speaks``: it talks to the launcher. ``training``: what it has begun last, empty where tasks
    name none, ``folders``: of all that it has begun by ``train_and_evaluate``, ``began``: any; ``finished``: its
    last gradient in that is applied; ``left_out``: a training that does not wait for it; ``doing``: what it does
    outside of any training, since ``doing_at``; ``leaving_at``: when its program had ended, ``threads``: what it
    waits for since, ``hurried``: it is ended for that; ``told_late``: it has been said that others wait for it;
    ``uses``, ``used_nothing``: see ``protocol.Uses`` and ``Leaving``; ``nothing_left``: its last step had been
    reached before; ``stepped_at``: when it last did a step, ``usual_s``: how far apart such
    reports are; ``restart_wanted``: why it is taken down to be started again;
    ``reached``: see ``protocol.Reached``; ``listens``: an evaluator whose loop can be told to end,
    ``evaluated``: what it has done last, ``done_with``: a checkpoint that its own loop wants the next after;
    ``term_at``: when SIGTERM follows the word to stop; ``asked_at``: when it was last asked what it does,
    ``stacks``: the answer.
    """

    number: int = 0
    started_at: float = 0.0
    running: bool = False
    ready: bool = False
    speaks: bool = False
    waits_for: protocol.Wait | None = None
    missing: str = ""
    global_step: int = 0
    stepped_at: float = 0.0
    usual_s: float = 0.0
    restart_wanted: str = ""
    training: str = ""
    folders: tuple[str, ...] = ()
    began: bool = False
    finished: bool = False
    left_out: str = ""
    doing: str = ""
    doing_at: float = 0.0
    leaving_at: float = math.inf
    threads: tuple[str, ...] = ()
    hurried: bool = False
    told_late: bool = False
    uses: str = ""
    used_nothing: bool = False
    nothing_left: bool = False
    reached: int | None = None
    listens: bool = False
    evaluated: protocol.Evaluated | None = None
    done_with: str = ""
    term_at: float = math.inf
    asked_at: float = -math.inf
    stacks: protocol.Stacks | None = None
    owner: TaskRecord | None = field(default=None, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if self.owner is not None:
            self.owner.note()

    def gone(self) -> None:
        """Its process has ended, and with it what it did."""
        self.running = False
        self.waits_for = None
        self.missing = self.training = self.doing = self.done_with = ""
        self.term_at = math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What a task's former attempts tell about the next. ``likeness``: how it died last, ``alike_at``: when so, in a
    row; ``restarted_at``: when it was started again after a death; ``trained``: it has done a step."""

    likeness: str = ""
    alike_at: tuple[float, ...] = ()
    restarted_at: tuple[float, ...] = ()
    trained: bool = False


@dataclass(kw_only=True, eq=False)
class TaskRecord:
    """A task in a generation. ``early_deaths``: deaths in a row before it was ready; ``restart_at``: when the back-off
    ends; ``leaves``: fewer are wanted, and it is one too many, or ``drains``: its host is drained, and it goes on
    elsewhere. ``changed``: collects whoever has changed, for the ``Roster``."""

    planned: PlannedTask
    state: TaskState = TaskState.WAITING
    attempt: Attempt = field(default_factory=Attempt)
    past: Past = field(default_factory=Past)
    early_deaths: int = 0
    restart_at: float = math.inf
    leaves: bool = False
    drains: bool = False
    changed: dict[TaskId, TaskRecord] = field(default_factory=dict, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if isinstance(value, Attempt):
            value.owner = self
        self.note()

    def note(self) -> None:
        """It has changed."""
        if hasattr(self, "changed"):  # the last of its fields: it is complete
            self.changed[self.task] = self

    @property
    def task(self) -> TaskId:
        return self.planned.task

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.state in RUNNING
