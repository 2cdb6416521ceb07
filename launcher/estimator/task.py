"""What this process knows of itself as a task of a cluster."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.estimator.channel import Channel
from launcher.wire.protocol import (
    ATTEMPT_VARIABLE,
    BELOW_VARIABLE,
    REPORT_STEPS_VARIABLE,
    TASK_SOCKET_VARIABLE,
    TASK_VARIABLE,
    Evaluated,
)


@dataclass
class Training:
    """One training of this process (see ``trainings``), over all of its sessions.

    ``name``: the same in every task; ``model_dir``: as an absolute path. ``sessions``: opened so far. ``kept``: the
    newest one kept the live variables of the parameter servers. ``loss`` and ``train_op``: what the Estimator
    runs in each step. ``end_reason``: why it ends by itself, empty for the usual reasons. ``saved``: a checkpoint was
    written.
    ``may_be_left_out``: the call that trains can return without a session.
    """

    name: str
    model_dir: str
    may_be_left_out: bool = True
    sessions: int = 0
    kept: bool = False
    loss: Any = None
    train_op: Any = None
    end_reason: str = ""
    saved: bool = False


@dataclass
class Task:
    """One attempt of a task: its channel to the agent, and what its trainings have in common.

    ``is_below``: this is not the task's own process, but one that it has started.
    ``cluster``: the addresses of each role, as TF_CONFIG had them at the start. ``training``: the one under way;
    ``is_beside``: in a call that trains nothing; ``calls``: how many trainings of each kind there have been;
    ``servers``: its TensorFlow servers, by address; ``own_address``: of one with a neutral name (``adjustments.start.
    roaming``), ``roams``: whether its sessions need nobody but the parameter servers, None before the first,
    ``told_ps``: where the newest of them was told that those are, by index;
    ``is_between_graph``: a server is being started for an Estimator without a strategy; ``uses``: what it has used of
    TensorFlow.
    ``steps``: counts those that no session does (``adjustments.strategies.steps``).
    ``examples``: examples trained by this attempt, None if the job never said; ``local_steps``: its steps.
    ``terminated``: SIGTERM came and was turned into a stop at the next step. ``report_steps``: global steps that are to
    be reported as soon as they are done. ``input_wait``: the tensor of the seconds that a step waits for its input,
    None if that is not measured. ``waited_s``: seconds spent waiting for input, None if nobody measures.
    ``before_finish``: what is to be done after the last step, before ``Finished``. ``adjustments``: the names of those
    that were made. ``evaluates_at``: before then (by the steady clock) an evaluator begins no other evaluation than the
    present one.
    """

    channel: Channel
    is_below: bool = False
    role: str = ""
    index: int = 0
    cluster: Mapping[str, Any] = field(default_factory=dict)
    training: Training | None = None
    is_beside: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    servers: dict[str, Any] = field(default_factory=dict)
    own_address: str = ""
    roams: bool | None = None
    told_ps: Mapping[str, str] = field(default_factory=dict)
    is_between_graph: bool = False
    uses: set[str] = field(default_factory=set)
    steps: Any = None
    examples: int | None = None
    local_steps: int = 0
    terminated: bool = False
    input_wait: Any = None
    waited_s: float | None = None
    evaluates_at: float = 0.0
    report_steps: tuple[int, ...] = ()
    adjustments: frozenset[str] = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock)
    before_finish: list[Callable[[], None]] = field(default_factory=list)

    @property
    def is_stopping(self) -> bool:
        """Whether training is to end at the next step."""
        return self.terminated or self.channel.stop is not None

    @property
    def is_chief(self) -> bool:
        """Whether this is the chief, or the first worker where there is none."""
        return self.role == "chief" or ((self.role, self.index) == ("worker", 0) and "chief" not in self.cluster)

    @property
    def is_alone(self) -> bool:
        """Whether this is a chief without parameter servers and workers."""
        others = set(self.cluster) - {"evaluator"}
        return self.role == "chief" and others == {"chief"}

    @property
    def has_moved_servers(self) -> bool:
        """Whether parameter servers are elsewhere than the newest session was told."""
        gate = self.channel.gate
        return gate is not None and bool(gate.ps) and bool(self.told_ps) and self.told_ps != gate.ps

    def is_over(self, training: Training) -> bool:
        """Whether the agent has said that this training has ended."""
        gate = self.channel.gate
        return gate is not None and training.name in gate.over


_current = Task(channel=Channel(path=None))


def current() -> Task:
    """The task of this process; one that nobody listens to if no launcher started it."""
    return _current


def begin(environ: Mapping[str, str]) -> Task:
    """Make this process the task that its environment names. Connects nothing yet."""
    global _current
    role, index = _identity(environ)
    name = environ.get(TASK_VARIABLE, f"{role}:{index}")
    attempt = int(environ.get(ATTEMPT_VARIABLE, "1"))
    channel = Channel(path=environ.get(TASK_SOCKET_VARIABLE), task=name, attempt=attempt)
    steps = tuple(map(int, filter(None, environ.get(REPORT_STEPS_VARIABLE, "").split(","))))
    cluster = _tf_config(environ).get("cluster")
    known = cluster if isinstance(cluster, dict) else {}
    is_below = BELOW_VARIABLE in environ
    _current = Task(channel=channel, is_below=is_below, role=role, index=index, cluster=known, report_steps=steps)
    return _current


def add_examples(count: int) -> None:
    """Say that this task has trained ``count`` more examples; they are reported with its steps. Thread-safe."""
    task = _current
    with task.lock:
        task.examples = (task.examples or 0) + count


def evaluated(metrics: Mapping[str, float], *, checkpoint: str = "", global_step: int = 0) -> None:
    """Say that an evaluator of the program's own has evaluated ``checkpoint``, or the one of ``global_step``: the run
    has these metrics, and after the last checkpoint the evaluator is ended. Nothing without a launcher."""
    task = _current if _current.role else begin(os.environ)
    if task.channel.open():
        values = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
        task.channel.send(Evaluated(global_step=global_step, metrics=values, checkpoint=str(checkpoint)))


def drains_evaluator() -> bool:
    """Whether a launcher tells the evaluator of this cluster when training is over."""
    return "eval-drain" in _current.adjustments and _current.channel.open()


def _identity(environ: Mapping[str, str]) -> tuple[str, int]:
    """Role and index, as in TF_CONFIG; the name of the task where there is none."""
    task = _tf_config(environ).get("task")
    if isinstance(task, dict) and task.get("type"):
        return str(task["type"]), int(task.get("index") or 0)
    role, _, index = environ.get(TASK_VARIABLE, "").partition(":")
    return role, int(index or 0)


def _tf_config(environ: Mapping[str, str]) -> dict[str, object]:
    try:
        value = json.loads(environ.get("TF_CONFIG") or "{}")
    except ValueError:  # TensorFlow says what is wrong with it
        return {}
    return value if isinstance(value, dict) else {}


def _forget_in_child() -> None:
    _current.channel.forget_in_child()


os.register_at_fork(after_in_child=_forget_in_child)
