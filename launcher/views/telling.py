"""The events of a run in sentences, for people who read a log instead of a picture."""

from __future__ import annotations

from functools import singledispatch

from launcher.record import events as ev
from launcher.record.states import Outcome, Phase, TaskState
from launcher.views.spans import Span, duration, number, places
from launcher.views.summary import OUTCOME_STYLES, costs
from launcher.wire.protocol import PreloadStage
from launcher.wire.roles import Role, TaskId

_LOUD = {
    TaskState.STARTING.value: "",
    TaskState.TRAINING.value: "",
    TaskState.STOPPING.value: "dim",
    TaskState.BACKOFF.value: "red",
    TaskState.FAILED.value: "bold red",
    TaskState.SUCCEEDED.value: "green",
    TaskState.STOPPED.value: "dim",
    TaskState.LEFT.value: "dim",
}
_SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "info": ""}


@singledispatch
def tell(event: ev.RunEvent) -> Span | None:
    """The event in one line and its style; None for what happens all the time."""
    return None


@tell.register
def _(event: ev.RunStarted) -> Span:
    model_dir = f", model in {event.model_dir}" if event.model_dir else ""
    which = f"run {event.run}" + (f" goes on, part {event.part}" if event.part > 1 else "")
    return f"{which}: {len(event.tasks)} tasks{model_dir}, logs in {event.run_dir}/logs", "bold"


@tell.register
def _(event: ev.PhaseChanged) -> Span | None:
    if event.phase == Phase.STARTING and not event.reason:
        return None  # as every run begins
    return _with_reason(event.phase, event.reason), "bold"


@tell.register
def _(event: ev.HostChanged) -> Span | None:
    if event.state == "up":
        return None
    if event.state == "granted":
        return f"host {event.host} granted, at {event.facts.get('address')}", ""
    words = {"lost": "out of reach", "renewed": "has a new agent: its tasks are gone"}
    return _with_reason(f"host {event.host} {words.get(event.state, event.state)}", event.message), "red"


@tell.register
def _(event: ev.PreloadChanged) -> Span | None:
    if event.state == PreloadStage.READY:
        return f"modules imported on {event.host} in {event.seconds:.1f} s", ""
    if event.state == PreloadStage.DIED:
        return _with_reason(f"the preloaded interpreter on {event.host} died", event.message), "yellow"
    return None


@tell.register
def _(event: ev.BoardChanged) -> Span:
    if event.state == "up":
        return f"TensorBoard answers at {event.url}", "bold"
    return _with_reason("TensorBoard has ended", event.message), "yellow"


@tell.register
def _(event: ev.TaskChanged) -> Span | None:
    if event.state == TaskState.FINISHED.value and event.reason and TaskId.parse(event.task).role is Role.CHIEF:
        return _with_reason("training ends", event.reason), "bold"
    if event.state not in _LOUD:
        return None
    state = "restarting" if event.state == TaskState.BACKOFF.value else event.state
    facts = [f"attempt {event.attempt}"] if event.attempt > 1 and event.state != TaskState.TRAINING.value else []
    if event.state == TaskState.STARTING.value:
        facts += [f"pid {event.pid}"] if event.pid else []
        facts += [f"on {event.host}"] if event.host else []
    text = f"{event.task} {state}" + (f" ({', '.join(facts)})" if facts else "")
    return _with_reason(text, event.reason), _LOUD[event.state]


@tell.register
def _(event: ev.CheckpointWritten) -> Span:
    return f"checkpoint at step {event.global_step:,}", ""


@tell.register
def _(event: ev.EvaluationDone) -> Span:
    values = ", ".join(f"{name} {number(value)}" for name, value in event.metrics.items() if name != "global_step")
    return f"evaluation at step {event.global_step:,}: {values}", "magenta"


@tell.register
def _(event: ev.Noticed) -> Span:
    named = not event.task or event.message.startswith(event.task)
    text = event.message if named else f"{event.task}: {event.message}"
    style = _SEVERITY_STYLES.get(event.severity, "")
    return text if event.severity == "info" else f"{event.severity}: {text}", style


@tell.register
def _(event: ev.StopRequested) -> Span:
    return _with_reason(f"asked to end ({event.how})", event.by), "yellow"


@tell.register
def _(event: ev.Recovered) -> Span:
    rolled = f", {event.steps_rolled_back:,} steps rolled back" if event.steps_rolled_back else ""
    return f"{event.task} is back after {event.recovered_s:.1f} s{rolled}", "green"


@tell.register
def _(event: ev.TasksMoved) -> Span:
    return f"without {event.host}: {places(event.tasks)}, as generation {event.generation}", "yellow"


@tell.register
def _(event: ev.MoveOver) -> Span:
    rolled = f", {event.steps_rolled_back:,} steps rolled back" if event.steps_rolled_back else ""
    words = f"training goes on without {', '.join(event.hosts)} after {event.recovered_s:.1f} s{rolled}"
    return f"{words}{costs(event)}", "green"


@tell.register
def _(event: ev.Scaled) -> Span:
    return f"{event.after} workers instead of {event.before} after {event.lasted_s:.1f} s{costs(event)}", "green"


@tell.register
def _(event: ev.DrillFired) -> Span:
    step = f" (global step {event.global_step:,})" if event.global_step is not None else ""
    return _with_reason(f"drill: {event.fault}{step}", event.message), "yellow"


@tell.register
def _(event: ev.DrillOver) -> Span | None:
    """A death that was made good is told by ``Recovered``."""
    if event.recovered_s is None:
        return f"drill: {event.fault}: {event.task} did not recover before the run ended", "yellow"
    if event.detected_s is None:
        return f"{event.task} trains again {event.recovered_s:.1f} s after it was paused", "green"
    return None


@tell.register
def _(event: ev.RunEnded) -> Span:
    step = f", global step {event.global_step:,}" if event.global_step is not None else ""
    styles = {outcome.value: style for outcome, style in OUTCOME_STYLES.items()}
    return f"{event.outcome} after {duration(event.duration_s)}{step}", styles.get(event.outcome, styles[Outcome.LOST])


def _with_reason(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
