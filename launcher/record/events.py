"""What a run tells about itself: the lines of ``events.jsonl``, which say what happened.

Views, ``report.json`` and ``status`` are folds over them, so a run whose supervisor was killed is still explained.
Fields may be added, never renamed. A line is an event's JSON with ``n``, from 1 on, and ``at``, UTC in ISO 8601."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from launcher.wire.protocol import NOTHING, JsonValue, Message, from_json, to_json


class RunEvent(Message):
    """Base of the events of a run."""


class RunStarted(RunEvent, kind="run_started"):
    """First event of a ``part``. ``run``: its folder's name; ``run_id``: unlike any other, marks its processes;
    ``tasks``: name and host of each; ``pid``: the supervisor's, on ``host``; ``inject``: the drills ordered."""

    run: str
    name: str
    pid: int
    host: str
    command: tuple[str, ...]
    model_dir: str | None
    run_dir: str
    tasks: tuple[Mapping[str, JsonValue], ...]
    max_steps: int | None = None
    version: str = ""
    run_id: str = ""
    inject: tuple[str, ...] = ()
    part: int = 1


class PhaseChanged(RunEvent, kind="phase_changed"):
    """The run as a whole went on to ``phase`` (a ``launcher.record.states.Phase``)."""

    phase: str
    reason: str = ""


class GenerationBound(RunEvent, kind="generation_bound"):
    """Every task of this generation has its address."""

    generation: int
    ports: Mapping[str, int]


class TasksMoved(RunEvent, kind="tasks_moved"):
    """``host`` is lost and not used any more; ``tasks``: where in ``generation`` each of its tasks goes on."""

    host: str
    generation: int
    tasks: Mapping[str, str]
    message: str = ""


class MoveOver(RunEvent, kind="move_over"):
    """Everybody trains again after the loss of ``hosts``; fields as in ``TasksMoved``, ``Recovered`` and ``Scaled``."""

    hosts: tuple[str, ...]
    generation: int
    tasks: Mapping[str, str]
    detected_s: float
    recovered_s: float
    steps_rolled_back: int = 0
    task: str | None = None
    idle_s: Mapping[str, float] = NOTHING
    examples_again: int | None = None


class Scaled(RunEvent, kind="scaled"):
    """Workers that were asked for train, or have left. ``idle_s``: for how long each trainer trained nothing meanwhile;
    ``examples_again``: rows of the input that are trained twice for it, None where nobody counts."""

    before: int
    after: int
    lasted_s: float
    idle_s: Mapping[str, float] = NOTHING
    examples_again: int | None = None


class HostChanged(RunEvent, kind="host_changed"):
    """An engine gave it (``granted``; ``facts``: the host as it is reached), its agent was reached (``up``) or started
    anew (``renewed``), or it cannot be had or reached any more (``lost``)."""

    host: str
    state: str
    facts: Mapping[str, JsonValue] = NOTHING
    message: str = ""


class PreloadChanged(RunEvent, kind="preload_changed"):
    """A preloaded interpreter is ``starting``, ``ready`` (after ``seconds``) or has ``died``."""

    host: str
    key: str
    state: str
    pid: int = 0
    seconds: float = 0.0
    message: str = ""


class TaskChanged(RunEvent, kind="task_changed"):
    """A task went on to ``state`` (a ``launcher.record.states.TaskState``). ``reason`` says why, for people."""

    task: str
    attempt: int
    state: str
    host: str
    generation: int = 1
    pid: int | None = None
    start: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    tail: str = ""


class ProgramSeen(RunEvent, kind="program_seen"):
    """What a task has been seen to use (see ``protocol.Uses``); ``server``: it only serves."""

    task: str
    attempt: int
    uses: str


class Progressed(RunEvent, kind="progressed"):
    """A trainer has trained. ``local_steps`` and ``examples`` (None: not said) count within the attempt;
    ``input_wait``: the share of its time that the task waited for input. The file has the first one of each attempt
    and the last, which has the mean of all its ``reports``, too; what lies between is sampled."""

    task: str
    attempt: int
    global_step: int
    local_steps: int
    examples: int | None = None
    loss: float | None = None
    input_wait: float | None = None
    mean_wait: float | None = None
    reports: int = 0


class UsageSampled(RunEvent, kind="usage_sampled"):
    """What the tasks of a host use: cpu share (1.0 is one core) and resident MiB by task name. Sampled only."""

    host: str
    cpu: Mapping[str, float]
    rss_mib: Mapping[str, float]


class CheckpointWritten(RunEvent, kind="checkpoint_written"):
    task: str
    global_step: int
    path: str


class EvaluationDone(RunEvent, kind="evaluation_done"):
    """One evaluation, as in ``protocol.Evaluated``."""

    task: str
    global_step: int
    metrics: Mapping[str, float | None]
    checkpoint: str = ""
    name: str = ""
    pause_s: float = 0.0


class ProfileTaken(RunEvent, kind="profile_taken"):
    """The trace of one step of a task was written to ``path``, in the run's ``timeline/``."""

    task: str
    attempt: int
    global_step: int
    path: str


class BoardChanged(RunEvent, kind="board_changed"):
    """TensorBoard is ``up`` on ``host`` and answers there at ``url``, or has ``ended`` before the run."""

    host: str
    state: str
    url: str = ""
    message: str = ""


class ModelDirKnown(RunEvent, kind="model_dir_known"):
    """The folder in which the chief trains, where the plan does not name it."""

    path: str


class TargetKnown(RunEvent, kind="target_known"):
    """How many global steps the training is to reach; None: as long as there is input."""

    max_steps: int | None


class Noticed(RunEvent, kind="noticed"):
    """Something that the user should see. ``severity``: ``info``, ``warning`` or ``error``."""

    severity: str
    message: str
    task: str | None = None


class StopRequested(RunEvent, kind="stop_requested"):
    """Somebody asked for the end. ``how``: see ``states.StopHow``."""

    how: str
    by: str = ""


class Recovered(RunEvent, kind="recovered"):
    """A task that had died trains again (serves, evaluates), and so does everybody who waited for it.
    ``detected_s``: from its death until the launcher knew; ``recovered_s``: from its death until now;
    ``steps_rolled_back``: how far behind the newest global step that was reported the training went on.
    """

    task: str
    attempt: int
    detected_s: float
    recovered_s: float
    steps_rolled_back: int = 0


class InputCounted(RunEvent, kind="input_counted"):
    """How the shared input stands, as in ``protocol.InputState``. The file has the last one alone."""

    examples: int
    duplicates: int = 0
    skipped: int = 0
    reread: int = 0
    pending: int = 0
    held: int = 0
    most_held: int = 0
    epoch: int | None = None
    epochs: int | None = None
    progress: float | None = None
    left_s: float | None = None
    lag_s: float | None = None
    endless: bool = False


class DrillFired(RunEvent, kind="drill_fired"):
    """A fault that the user asked for (``--inject``) was carried out; ``number``: its place there."""

    fault: str
    task: str | None = None
    global_step: int | None = None
    message: str = ""
    number: int = 0


class DrillOver(RunEvent, kind="drill_over"):
    """What a drill has caused, in seconds since it was carried out; None: nothing has died, or it never recovered."""

    fault: str
    number: int
    task: str
    detected_s: float | None = None
    recovered_s: float | None = None
    steps_rolled_back: int = 0


class RunEnded(RunEvent, kind="run_ended"):
    """Last event. ``cause``: None, or task, host, kind, exit, message and advice of the first cause."""

    outcome: str
    exit_code: int
    duration_s: float
    global_step: int | None = None
    cause: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An event as it stands in the file."""

    n: int
    at: datetime
    event: RunEvent


def to_line(recorded: Recorded) -> str:
    """One line of the file, newline included."""
    at = recorded.at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"n": recorded.n, "at": at, **to_json(recorded.event)}, ensure_ascii=False) + "\n"


def from_line(line: str) -> Recorded:
    """The event of one line; raises ``ProtocolError`` or ValueError if it is none."""
    event = from_json(body := json.loads(line))
    if not isinstance(event, RunEvent):
        raise ValueError(f"not an event of a run: {line[:200]}")
    return Recorded(n=int(body["n"]), at=datetime.fromisoformat(body["at"].replace("Z", "+00:00")), event=event)
