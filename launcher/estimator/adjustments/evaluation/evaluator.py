"""The evaluator's loop: eval-delay and eval-drain.

``_TrainingExecutor._start_continuous_evaluation`` (``tensorflow_estimator/python/estimator/training.py``) sleeps
``start_delay_secs``, then evaluates every ``throttle_secs`` until a checkpoint has ``global_step >= max_steps``. The
loop here does the same with waits that end when there is something to do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task
from launcher.wire.protocol import Ready, Wait, Waiting

TRAINING = "tensorflow_estimator.python.estimator.training"
_LOOK_EVERY_S = 0.5
_UNTRAINED = 0
_ENDING = "training_is_over"  # of a train hook: whether training has ended otherwise than at max_steps
_STOPPED = "stopped"  # of a train hook: why it has ended training
_FINAL = -1  # as max_training_steps: every checkpoint is the final one (0 and None would mean that none is)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """``is_prompt`` (eval-delay): go by checkpoints, not by the clock. ``drains`` (eval-drain): end when told to, not
    by ``max_steps``. ``reports`` (heartbeat): say when the evaluator is ready."""

    is_prompt: bool
    drains: bool
    reports: bool


def replace_loop(patches: Patches, task: Task, rules: Rules) -> None:
    """Have evaluators of this process follow ``rules``."""

    def start(original: Callable[..., Any], executor: Any) -> None:
        task.channel.open()
        if rules.reports:
            task.channel.send(Ready())
        if rules.is_prompt or rules.drains:
            _Evaluation(executor, task, rules).run()
        else:
            original(executor)

    patches.wrap(importlib.import_module(TRAINING)._TrainingExecutor, "_start_continuous_evaluation", start)


def export_when_stopped(patches: Patches, task: Task) -> None:
    """Have a script without a cluster export finally when a hook has ended its training: the original loop takes only
    ``max_steps`` for an end."""
    training: Any = importlib.import_module(TRAINING)

    def run_local(original: Callable[..., Any], executor: Any) -> Any:
        metrics, exported = original(executor)
        if not metrics or not any(getattr(hook, _STOPPED, "") for hook in executor._train_spec.hooks):
            return metrics, exported
        evaluator = training._TrainingExecutor._Evaluator(executor._estimator, executor._eval_spec, None)
        status, checkpoint = training._EvalStatus.EVALUATED, executor._estimator.latest_checkpoint()
        last = training._EvalResult(status=status, metrics=metrics, checkpoint_path=checkpoint)
        return metrics, _export_finally(evaluator, last)

    patches.wrap(training._TrainingExecutor, "run_local", run_local)


def _export_finally(evaluator: Any, last: Any) -> Any:
    """A checkpoint was evaluated before it was known to be the last: those who export at the end only."""
    exporters: Any = importlib.import_module("tensorflow_estimator.python.estimator.exporter")
    spec = evaluator._eval_spec
    late = tuple(exporter for exporter in spec.exporters if not isinstance(exporter, exporters.LatestExporter))
    evaluator._eval_spec = spec._replace(exporters=late)
    return evaluator._export_eval_result(last, True)


class _Evaluation:
    def __init__(self, executor: Any, task: Task, rules: Rules) -> None:
        self._training: Any = importlib.import_module(TRAINING)
        self._training._assert_eval_spec(executor._eval_spec)
        self._spec = executor._eval_spec
        self._max_steps: int | None = executor._train_spec.max_steps
        self._listener = executor._continuous_eval_listener
        self._estimator = executor._estimator
        self._evaluator = self._training._TrainingExecutor._Evaluator(self._estimator, self._spec, self._max_steps)
        self._task = task
        self._channel = task.channel
        self._evaluated = task.training
        self._rules = rules
        self._endings = [hook.training_is_over for hook in executor._train_spec.hooks if hasattr(hook, _ENDING)]
        self._last: Any = None

    def run(self) -> None:
        """Evaluate until training is over. Blocks."""
        self._await_start()
        while True:
            is_last = self._is_drained()  # asked first: what is saved after this is not promised to be evaluated
            began_at = monotonic()
            if not self._listener.before_eval():
                return
            result = self._evaluate(is_last, began_at)
            if not self._listener.after_eval(result) or is_last or self._has_reached_end():
                return
            self._await_next(began_at)

    def _evaluate(self, is_last: bool, began_at: float) -> Any:
        if is_last:
            self._evaluator._max_training_steps = _FINAL
        elif self._expects_drain():
            self._evaluator._max_training_steps = None
        self._task.evaluates_at = 0.0 if is_last else began_at + self._spec.throttle_secs
        result, _ = self._evaluator.evaluate_and_export()
        self._task.evaluates_at = 0.0
        if result.status == self._training._EvalStatus.EVALUATED:
            self._last = result
        elif is_last and self._last is not None:
            _export_finally(self._evaluator, self._last)
        return result

    def _await_start(self) -> None:
        if self._rules.is_prompt:
            self._await_checkpoint(None, not_before=monotonic())
        else:
            self._wait(self._spec.start_delay_secs)

    def _await_next(self, began_at: float) -> None:
        not_before = began_at + self._spec.throttle_secs
        if self._rules.is_prompt:
            self._await_checkpoint(self._evaluator._previous_ckpt_path, not_before=not_before)
        else:
            self._wait(not_before - monotonic())

    def _await_checkpoint(self, known: str | None, *, not_before: float) -> None:
        """Until there is another checkpoint than ``known`` and the time has come, or training is over."""
        self._wait(not_before - monotonic())
        if self._has_news(known):
            return
        self._channel.send(Waiting(what=Wait.CHECKPOINT))
        while not self._has_news(known) and not self._wait(_LOOK_EVERY_S):
            pass
        self._channel.send(Waiting(what=""))

    def _has_news(self, known: str | None) -> bool:
        """Whether there is a checkpoint to evaluate. The one that a chief saves before its first step is none: it
        says nothing, and would put the next evaluation off by ``throttle_secs``."""
        path = self._estimator.latest_checkpoint()
        return path not in (None, known) and not str(path).endswith(f"-{_UNTRAINED}")

    def _wait(self, seconds: float) -> bool:
        """Sleep, but not longer than training. Returns whether it is over."""
        ends_at = monotonic() + max(seconds, 0.0)
        while True:  # a hook does not wake those who wait
            left_s = max(ends_at - monotonic(), 0.0)
            if self._channel.wait(self._is_drained, min(left_s, _LOOK_EVERY_S) if self._endings else left_s):
                return True
            if monotonic() >= ends_at:
                return False

    def _is_drained(self) -> bool:
        """Told by the agent; where there is none, by a hook of the training."""
        if self._rules.drains and self._is_told():
            return True
        return not self._channel.is_open and any(is_over() for is_over in self._endings)

    def _is_told(self) -> bool:
        """Of this training, or of all."""
        training, drained = self._evaluated, self._channel.drained
        return "" in drained or (training is not None and (training.name in drained or self._task.is_over(training)))

    def _expects_drain(self) -> bool:
        """Whether the end is told; else, and when the agent is gone, it is found as in the original loop."""
        return self._rules.drains and (self._channel.is_open or self._is_told())

    def _has_reached_end(self) -> bool:
        if self._expects_drain() or self._last is None or not self._max_steps:
            return False
        return bool(self._last.metrics["global_step"] >= self._max_steps)
