"""The end of a training with SyncReplicasOptimizer (``tensorflow/python/training/sync_replicas_optimizer.py``).

Each of its steps ends with a token out of a queue, which a thread of the chief fills when enough replicas have given
their gradients. Once one of them has left its loop, the others wait for a token that never comes, and nothing can
interrupt them; and the thread waits for gradients for as long as its session is open.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions.trainer import MONITORED_SESSION, Hook, Trainer
from launcher.estimator.task import Task

_AGAIN_S = 0.2
_JOIN_S = 1.0


class LastTokens(Hook):
    """final-save: as soon as the training is to end, the chief gives out tokens, so that whoever waits in a step leaves
    it, and its loop."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._tokens: Any = None
        self._session: Any = None
        self._is_ending = self._is_closed = False

    def begin(self) -> None:
        module: Any = importlib.import_module("tensorflow.python.training.sync_replicas_optimizer")
        kind = module._SyncReplicasOptimizerHook
        found = [hook for hook in self._trainer.monitored._hooks if isinstance(hook, kind)]
        if found and self._trainer.is_chief:
            self._tokens = found[0]._sync_optimizer.get_init_tokens_op()

    def after_create_session(self, session: Any, coord: Any) -> None:
        is_first, self._session = self._session is None, session
        if self._tokens is not None and is_first:
            threading.Thread(target=self._give_out, daemon=True).start()

    def end(self, session: Any) -> None:
        self._is_ending = True
        self._trainer.task.channel.notify()

    def closed(self) -> None:
        self._is_closed = True
        self._trainer.task.channel.notify()

    def _give_out(self) -> None:
        channel, task = self._trainer.task.channel, self._trainer.task
        channel.wait(lambda: self._is_ending or self._is_closed or task.is_stopping)
        while not channel.wait(lambda: self._is_closed, _AGAIN_S):
            try:
                self._session.run(self._tokens)
            except Exception:  # noqa: BLE001  the session is being closed, or is lost and will be another one
                continue


def join_soon(patches: Patches, task: Task) -> None:
    """session-close: nobody waits two minutes (``stop_grace_period_secs``) for threads that end only with the session.
    That they are cancelled then is no error."""
    module: Any = importlib.import_module(MONITORED_SESSION)
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")

    def close(original: Callable[[Any], None], session: Any) -> None:
        session._stop_grace_period_secs = min(session._stop_grace_period_secs, _JOIN_S)
        session._coord._clean_stop_exception_types += (errors.CancelledError,)
        original(session)

    patches.wrap(module._CoordinatedSession, "close", close)
