"""Early stopping that works in a cluster: every role ends, and a job that goes on is not stopped by its past.

What is wrong with the hooks of ``tf.estimator.experimental``: they keep ``STOP=True`` in the checkpoint, so that a
resumed job ends at once; a misspelt metric kills only the chief; with ``EvalSpec(name=...)`` they read the wrong
folder; the evaluator never learns that training is over. The hooks here take the same arguments.

- The *chief* reads the evaluations since the beginning of this job, and decides.
- *Trainers* are told by a resource on the first parameter server that is in no checkpoint: it exists from the decision
  on. The chief's last save follows as at any other end.
- The *evaluator* is told by the launcher as at any other end; without a launcher by a file in the model_dir, and then
  evaluates and exports the last checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from launcher.estimator import task as tasks
from launcher.estimator.adjustments import adjust
from launcher.estimator.training.evaluations import EvaluationLog
from launcher.estimator.training.stopping import Aim, Patience, Rule, Threshold, value_of
from launcher.wire.protocol import RUN_VARIABLE

NOTE = "early_stopping.json"
_DEFAULT_SECS = 60
_log = logging.getLogger("tensorflow")


def stop_if_no_increase_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_increase: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = None,
    run_every_steps: int | None = None,
    min_change: float = 0.0,
) -> EarlyStoppingHook:
    """A hook for ``TrainSpec(hooks=[...])``: ends training when ``metric_name`` has not risen by more than
    ``min_change`` within ``max_steps_without_increase``.

    ``min_steps``: evaluations before that step count for nothing. Evaluations are looked at every ``run_every_steps``,
    or ``run_every_secs`` (default 60). ``eval_dir``: where they are, if there are several folders of them. An unknown
    metric raises UnknownMetricError at the first evaluation.
    """
    rule = Patience(
        metric=metric_name,
        aim=Aim.INCREASE,
        max_steps=max_steps_without_increase,
        min_steps=min_steps,
        min_change=min_change,
    )
    return EarlyStoppingHook(estimator, rule, eval_dir, every_secs=run_every_secs, every_steps=run_every_steps)


def stop_if_no_decrease_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_decrease: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = None,
    run_every_steps: int | None = None,
    min_change: float = 0.0,
) -> EarlyStoppingHook:
    """As :func:`stop_if_no_increase_hook`, for a metric that should fall, such as ``loss``."""
    rule = Patience(
        metric=metric_name,
        aim=Aim.DECREASE,
        max_steps=max_steps_without_decrease,
        min_steps=min_steps,
        min_change=min_change,
    )
    return EarlyStoppingHook(estimator, rule, eval_dir, every_secs=run_every_secs, every_steps=run_every_steps)


def stop_if_higher_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = None,
    run_every_steps: int | None = None,
) -> EarlyStoppingHook:
    """Ends training when ``metric_name`` is above ``threshold``."""
    rule = Threshold(metric=metric_name, aim=Aim.INCREASE, threshold=threshold, min_steps=min_steps)
    return EarlyStoppingHook(estimator, rule, eval_dir, every_secs=run_every_secs, every_steps=run_every_steps)


def stop_if_lower_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = None,
    run_every_steps: int | None = None,
) -> EarlyStoppingHook:
    """Ends training when ``metric_name`` is below ``threshold``."""
    rule = Threshold(metric=metric_name, aim=Aim.DECREASE, threshold=threshold, min_steps=min_steps)
    return EarlyStoppingHook(estimator, rule, eval_dir, every_secs=run_every_secs, every_steps=run_every_steps)


class EarlyStoppingHook(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """One and the same hook in every role; what it does depends on the role.

    Making one has side effects in this process: ``estimator.evaluate`` checks for the metric, and the evaluator's loop
    ends when training has.
    """

    def __init__(
        self, estimator: Any, rule: Rule, eval_dir: str | None, *, every_secs: float | None, every_steps: int | None
    ) -> None:
        if every_secs is not None and every_steps is not None:
            raise ValueError("give run_every_secs or run_every_steps, not both")
        if every_secs is None and every_steps is None:
            every_secs = _DEFAULT_SECS
        self._timer = tf.compat.v1.train.SecondOrStepTimer(every_secs=every_secs, every_steps=every_steps)
        self._estimator = estimator
        self._rule = rule
        self._eval_dir = eval_dir
        self._note = _Note(estimator.model_dir)
        self._old_note = self._note.read()
        self._log: EvaluationLog | None = None
        self._flag: _Flag | None = None
        self._reason = ""
        _check_metric(estimator, rule.metric)
        adjust.ensure({"eval-drain"})

    @property
    def stopped(self) -> str:
        """Why this process ends training, empty while it does not."""
        return self._reason

    def training_is_over(self) -> bool:
        """For an evaluator that nobody tells: whether the chief has stopped early since this process began."""
        note = self._note.read()
        return note != self._old_note and note.get("stopped_at_step") is not None

    def begin(self) -> None:
        """Adds to the graph; the chief begins to count evaluations here."""
        self._reason = ""
        self._flag = _Flag(self._estimator.config, _training_name())
        self._step = tf.compat.v1.train.get_or_create_global_step()
        if self._estimator.config.is_chief:
            self._log = EvaluationLog(self._estimator.model_dir, self._eval_dir, self._past())

    def after_create_session(self, session: Any, coord: Any) -> None:
        """A flag that an earlier job has left on parameter servers which still run is taken down."""
        assert self._flag is not None
        if self._estimator.config.is_chief and not self._reason and not _is_restart():
            session.run(self._flag.clear)

    def before_run(self, run_context: Any) -> Any:
        """Fetches the flag with each step."""
        assert self._flag is not None
        return tf.compat.v1.train.SessionRunArgs([self._step, self._flag.is_up])

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Stops where the flag is up; the chief decides whether to raise it. Raises UnknownMetricError."""
        step, is_up = run_values.results
        if is_up:
            self._end(run_context, self._reason or "the chief has decided so")
        elif self._log is not None and self._timer.should_trigger_for_step(step):
            self._timer.update_last_triggered_step(step)
            self._decide(run_context)

    def end(self, session: Any) -> None:
        """The chief's last save is done: say so to an evaluator that nobody else tells."""
        if self._reason and self._estimator.config.is_chief:
            self._note.write(
                {**self._note.read(), "stopped_at_step": int(session.run(self._step)), "why": self._reason}
            )

    def _decide(self, run_context: Any) -> None:
        assert self._log is not None and self._flag is not None
        try:
            reason = self._rule.verdict(self._log.read())
        except Exception:
            run_context.session.run(self._flag.put_up)  # the others are not to train on without a chief
            raise
        if reason:
            run_context.session.run(self._flag.put_up)
            self._end(run_context, reason)

    def _end(self, run_context: Any, reason: str) -> None:
        if not self._reason:
            _log.info("Training ends early: %s.", reason)
        self._reason = reason
        if (training := tasks.current().training) is not None:
            training.end_reason = f"early stopping: {reason}"
        run_context.request_stop()

    def _past(self) -> dict[str, int]:
        """What a job finds is none of its own evaluations, unless it is a restarted chief's."""
        run = os.environ.get(RUN_VARIABLE, "")
        note = self._note.read()
        name = _training_name()
        if run and (note.get("run"), note.get("training")) == (run, name) and _is_restart():
            return {str(path): int(size) for path, size in note.get("past", {}).items()}
        past = EvaluationLog(self._estimator.model_dir, self._eval_dir).sizes()
        self._note.write({"run": run, "training": name, "past": past, "stopped_at_step": None})
        return past


class _Flag:
    """A resource without a value: it exists or not. On the first parameter server, else in this process; each training
    has its own."""

    def __init__(self, config: Any, training: str) -> None:
        device = "/job:ps/task:0/device:CPU:0" if config.num_ps_replicas else "/device:CPU:0"
        with tf.device(device):
            handle = tf.raw_ops.VarHandleOp(
                dtype=tf.bool, shape=[], shared_name=f"tflaunch_early_stopping{training}", name="early_stopping"
            )
            self.is_up = tf.raw_ops.VarIsInitializedOp(resource=handle)
            self.put_up = tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(True))
            self.clear = tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)


class _Note:
    """The file in the model_dir: when this job began to count, and where it was stopped."""

    def __init__(self, model_dir: str) -> None:
        self._path = f"{model_dir.rstrip('/')}/{NOTE}"

    def read(self) -> dict[str, Any]:
        try:
            with tf.io.gfile.GFile(self._path) as file:
                value = json.loads(file.read())
        except (tf.errors.OpError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, value: dict[str, Any]) -> None:
        """Whole or not at all."""
        tf.io.gfile.makedirs(self._path.rpartition("/")[0])
        with tf.io.gfile.GFile(f"{self._path}.new", "w") as file:
            file.write(json.dumps(value))
        tf.io.gfile.rename(f"{self._path}.new", self._path, overwrite=True)


def _training_name() -> str:
    training = tasks.current().training
    return training.name if training is not None else ""


def _is_restart() -> bool:
    return tasks.current().channel.attempt > 1


def _check_metric(estimator: Any, metric: str) -> None:
    """Have the evaluating process fail at its first evaluation without the metric."""
    original: Callable[..., Any] = estimator.evaluate

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        metrics = original(*args, **kwargs)
        if metrics:
            value_of(metric, metrics, who="early stopping")
        return metrics

    estimator.evaluate = evaluate
