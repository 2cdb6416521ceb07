"""heartbeat: what a task says of itself. One extra fetch a second, never an extra ``session.run`` per step."""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions import global_steps
from launcher.estimator.adjustments.sessions.trainer import ESTIMATOR, Hook, Trainer
from launcher.estimator.task import Task
from launcher.wire.protocol import SERVING, CheckpointSaved, Doing, Evaluated, MaxSteps, Ready, Step

HOOKS = "tensorflow.python.training.basic_session_run_hooks"
SERVER = "tensorflow.python.training.server_lib"
_EVERY_S = 1.0
_FIRST_LOOK_S = 0.05
_EACH_STEP_S = 0.01

_Original = Callable[..., Any]


class Pace:
    """When the global step is to be fetched next: once a second, and in time for the steps that are waited for.

    On the way to such a step it is fetched whenever half of the way is done, so that it is found within a few steps.
    """

    def __init__(self, wanted: Sequence[int]) -> None:
        self._wanted = sorted(wanted)
        self._step: int | None = None
        self._at = 0.0

    def wait_s(self, step: int, now: float) -> float:
        """How long from ``now``, when the global step is ``step``, to the next fetch."""
        rate = (step - self._step) / (now - self._at) if self._step is not None and now > self._at else 0.0
        self._step, self._at = step, now
        ahead = [wanted - step for wanted in self._wanted if wanted > step]
        if not ahead:
            return _EVERY_S
        if rate <= 0:
            return _FIRST_LOOK_S
        half_way_s = ahead[0] / rate / 2
        return min(_EVERY_S, half_way_s) if half_way_s > _EACH_STEP_S else 0.0


class Heartbeat(Hook):
    """Reports ``Ready``, ``MaxSteps`` and ``Step`` of a trainer, and ``Finished`` at the end of its loop."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._channel = trainer.task.channel
        self._fetches: Any = None
        self._due_at = 0.0
        self._began_at = 0.0
        self._pace = Pace(trainer.task.report_steps)
        self._max_steps: int | None = None
        self._has_said_max_steps = False
        self._first: tuple[int, int] | None = None
        self._waited: tuple[float, float | None] = (0.0, None)

    def begin(self) -> None:
        trainer = self._trainer
        if trainer.global_step_tensor is None:
            return
        session_run_hook: Any = importlib.import_module("tensorflow.python.training.session_run_hook")
        wanted = {"step": trainer.global_step_tensor}
        if trainer.training.loss is not None:
            wanted["loss"] = trainer.training.loss
        waited = trainer.task.input_wait
        if waited is not None and waited.graph is trainer.global_step_tensor.graph:
            wanted["waited"] = waited
        self._fetches = session_run_hook.SessionRunArgs(wanted)

    def after_create_session(self, session: Any, coord: Any) -> None:
        trainer = self._trainer
        self._channel.send(Ready(global_step=trainer.read_global_step(session), kept=trainer.training.kept))
        self._say_max_steps()
        self._due_at = 0.0

    def before_run(self, run_context: Any) -> Any:
        self._began_at = monotonic()
        return self._fetches if self._began_at >= self._due_at else None

    def after_run(self, run_context: Any, run_values: Any) -> None:
        results = run_values.results
        if results is None:
            return
        self._say_max_steps()
        trainer = self._trainer
        trainer.global_step = int(results["step"])
        self._check_global_step()
        now = monotonic()
        self._due_at = now + self._pace.wait_s(trainer.global_step, now)
        self._channel.send(
            Step(
                global_step=trainer.global_step,
                local_steps=trainer.task.local_steps,
                examples=trainer.task.examples,
                loss=_number(results.get("loss")),
                input_wait=self._input_wait(results, now),
            )
        )

    def _input_wait(self, results: Mapping[str, Any], now: float) -> float | None:
        """The share of the time spent waiting for input: since the last report if the job adds it up, else of this
        step."""
        waited_s = self._trainer.task.waited_s
        (before_s, at), self._waited = self._waited, (waited_s or 0.0, now)
        if waited_s is None:
            return _share(_number(results.get("waited")), now - self._began_at)
        return None if at is None else _share(waited_s - before_s, now - at)

    def _check_global_step(self) -> None:
        """Raises GlobalStepError. The first step that is seen is counted from, not the session's beginning: others
        train meanwhile."""
        trainer = self._trainer
        now = (trainer.global_step or 0, trainer.task.local_steps)
        if self._first is None or self._first[0] != now[0]:
            self._first = now
        graph = trainer.global_step_tensor.graph
        global_steps.check(graph, self._first[0], now[0], now[1] - self._first[1])

    def end(self, session: Any) -> None:
        """Raises GlobalStepError."""
        self._trainer.finish(session)
        tensor, first = self._trainer.global_step_tensor, self._first
        if tensor is not None and first is not None and self._trainer.task.local_steps > first[1]:
            global_steps.check_end(tensor.graph, first[0], self._trainer.global_step or 0)

    def _say_max_steps(self) -> None:
        """A ``StopAtStepHook`` with ``num_steps`` knows its last step only once its session is there."""
        max_steps = _last_step(self._trainer.monitored._hooks)
        if max_steps != self._max_steps or not self._has_said_max_steps:
            self._channel.send(MaxSteps(max_steps=max_steps))
        self._max_steps, self._has_said_max_steps = max_steps, True


def _share(part_s: float | None, whole_s: float) -> float | None:
    return None if part_s is None else round(min(1.0, max(0.0, part_s) / max(whole_s, 1e-9)), 4)


def _last_step(hooks: Any) -> int | None:
    """Where training stops: the lowest ``last_step`` of the StopAtStepHooks, None if there is none."""
    stop_at_step: Any = importlib.import_module(HOOKS).StopAtStepHook
    steps = [hook._last_step for hook in hooks if isinstance(hook, stop_at_step) and hook._last_step is not None]
    return int(min(steps)) if steps else None


def report_checkpoints(patches: Patches, task: Task) -> None:
    """``CheckpointSaved`` after every save of any CheckpointSaverHook of this process."""

    def save(original: _Original, hook: Any, session: Any, step: Any) -> Any:
        should_stop = original(hook, session, step)
        task.channel.send(CheckpointSaved(global_step=int(step), path=f"{hook._save_path}-{int(step)}"))
        return should_stop

    patches.wrap(importlib.import_module(HOOKS).CheckpointSaverHook, "_save", save)


def report_servers(patches: Patches, task: Task) -> None:
    """``Ready`` when a server runs and the program waits for ever, as parameter servers do, and the workers of a
    coordinator: it only serves from then on."""

    def join(original: _Original, server: Any) -> Any:
        if task.channel.open():
            task.channel.send(Ready())
            task.channel.send(Doing(what=SERVING))
        return original(server)

    patches.wrap(importlib.import_module(SERVER).Server, "join", join)


def report_evaluations(patches: Patches, task: Task) -> None:
    """``Evaluated`` after every ``Estimator.evaluate`` of this process that gave metrics."""

    def evaluate(
        original: _Original,
        estimator: Any,
        input_fn: Any,
        steps: Any = None,
        hooks: Any = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> Any:
        path = checkpoint_path or estimator.latest_checkpoint() or ""
        metrics = original(estimator, input_fn, steps, hooks, checkpoint_path=checkpoint_path, name=name)
        if metrics and task.channel.open():
            step = int(metrics.get("global_step", 0))
            pause_s = max(0.0, task.evaluates_at - monotonic())
            values, where = numeric(metrics), str(path)
            task.channel.send(
                Evaluated(global_step=step, metrics=values, checkpoint=where, name=name or "", pause_s=pause_s)
            )
        return metrics

    patches.wrap(importlib.import_module(ESTIMATOR).Estimator, "evaluate", evaluate)


def numeric(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics that are one number, None for NaN and infinity; summaries (bytes) and arrays are left out."""
    return {name: _number(value) for name, value in metrics.items() if isinstance(_scalar(value), numbers.Real)}


def _scalar(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _number(value: Any) -> float | None:
    """A finite number, of Python or numpy; None for anything else: JSON has neither NaN nor infinity."""
    value = _scalar(value)
    return float(value) if isinstance(value, numbers.Real) and math.isfinite(value) else None
