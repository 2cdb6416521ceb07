"""final-save: the chief's last checkpoint holds what every worker has trained.

A chief whose input runs dry saves and leaves while workers go on (``CheckpointSaverHook.end`` in
``tensorflow/python/training/basic_session_run_hooks.py``). Here it waits first, saving at the job's own interval, until
the agent says that no trainer is left that may still apply gradients. If a parameter server is lost meanwhile, the
chief must recover, since the workers wait for it to initialise the variables again.
"""

from __future__ import annotations

import importlib
from typing import Any

from launcher.estimator.adjustments.sessions.trainer import MONITORED_SESSION, Hook, Trainer, loss_errors
from launcher.wire.protocol import Step, Wait, Waiting

_LOOK_EVERY_S = 1.0
_RUN_TIMEOUT_MS = 30_000


class FinalSave(Hook):
    """At the end of the loop: workers report ``Finished``, the chief waits for ``Barrier`` besides."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._channel = trainer.task.channel

    def end(self, session: Any) -> None:
        self._trainer.finish(session)
        if not self._trainer.is_chief or self._may_leave():
            return
        self._channel.send(Waiting(what=Wait.BARRIER))
        while not self._channel.wait(self._may_leave, _LOOK_EVERY_S):
            session = self._look_after(session)
        self._channel.send(Waiting(what=""))
        self._report(self._trainer.read_global_step(session))

    def _may_leave(self) -> bool:
        is_open = self._trainer.training.name in self._channel.barriers
        return is_open or self._trainer.task.terminated or not self._channel.is_open

    def _look_after(self, session: Any) -> Any:
        """Report and save what the workers train; the session to go on with, a new one if this one is broken."""
        errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
        if self._trainer.task.has_moved_servers:
            return self._recover()
        try:
            options = _run_options()
            step = int(session.run(self._trainer.global_step_tensor, options=options))
            self._report(step)
            self._save_if_due(session, step)
        except errors.DeadlineExceededError:  # a parameter server is slow, or stopped
            return session
        except loss_errors():
            return self._recover()
        return session

    def _report(self, step: int) -> None:
        trainer = self._trainer
        trainer.global_step = step
        self._channel.send(Step(global_step=step, local_steps=trainer.task.local_steps, examples=trainer.task.examples))

    def _save_if_due(self, session: Any, step: int) -> None:
        hooks: Any = importlib.import_module("tensorflow.python.training.basic_session_run_hooks")
        for hook in self._trainer.monitored._hooks:
            if isinstance(hook, hooks.CheckpointSaverHook) and hook._timer.should_trigger_for_step(step):
                hook._timer.update_last_triggered_step(step)
                hook._save(session, step)

    def _recover(self) -> Any:
        """As ``_RecoverableSession.run`` does, which is out of reach once the loop is over."""
        module: Any = importlib.import_module(MONITORED_SESSION)
        monitored = self._trainer.monitored
        monitored._sess.close()
        monitored._sess = module._RecoverableSession(monitored._coordinated_creator)
        return monitored._coordinated_creator.tf_sess


def _run_options() -> Any:
    config: Any = importlib.import_module("tensorflow.core.protobuf.config_pb2")
    return config.RunOptions(timeout_in_ms=_RUN_TIMEOUT_MS)
