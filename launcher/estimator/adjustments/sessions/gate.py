"""How a trainer comes by its session: session-gate, ready-poll and chief-rejoin.

All three change ``SessionManager`` (``tensorflow/python/training/session_manager.py``), which is asked for a session
at the start and after each recovery, by the chief with ``prepare_session`` and by workers with ``wait_for_session``.
Sessions of this process alone (``master=''``) that do not train are left as they are.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions.trainings import TrainingOverError
from launcher.estimator.task import Task, Training
from launcher.wire.protocol import CLOSING_THREAD, Gate, Wait, Waiting

SESSION_MANAGER = "tensorflow.python.training.session_manager"
SESSION = "tensorflow.python.client.session"
_POLL_S = 0.2
_CHIEF_S = 1.0
_CLOSE_S = 0.5
_LOG_EVERY_S = 30.0
_SHOWN_NAMES = 5
_NOT_INITIALISED = "Variables not initialized: "
_log = logging.getLogger("tensorflow")

_Original = Callable[..., Any]


def gate_sessions(patches: Patches, task: Task) -> None:
    """session-gate: a session is opened only while the agent says that every ps is proven; to train, by the chief only
    in a folder that the run has locked, and by a worker only in the training whose variables the ps hold."""

    def prepare_session(original: _Original, manager: Any, master: str, *args: Any, **kwargs: Any) -> Any:
        training = task.training
        if training is not None:
            _pass_gate(task, lambda gate: gate.open and training.model_dir in ("", gate.model_dir))
        elif master:
            _pass_gate(task, lambda gate: gate.open)
        return original(manager, master, *args, **kwargs)

    def wait_for_session(original: _Original, manager: Any, master: str, *args: Any, **kwargs: Any) -> Any:
        if master:
            _pass_gate(task, partial(_admits_worker, task.training))
        return original(manager, master, *args, **kwargs)

    manager = _session_manager()
    patches.wrap(manager, "prepare_session", prepare_session)
    patches.wrap(manager, "wait_for_session", wait_for_session)


def _admits_worker(training: Training | None, gate: Gate) -> bool:
    if training is None or gate.training in ("", training.name):
        return gate.open
    return gate.open and (gate.closed or training.name in gate.over)


def _pass_gate(task: Task, admits: Callable[[Gate], bool]) -> None:
    """Raises TrainingOverError where the training under way has ended without this task."""
    gate = task.channel.wait_gate(admits, lambda: task.terminated)
    _end_if_terminated(task)
    training = task.training
    if gate is None or training is None or training.sessions or not training.may_be_left_out:
        return
    if training.name in gate.over:
        raise TrainingOverError(f"the training in {training.model_dir} has ended already")
    if gate.closed:
        raise TrainingOverError(f"the chief has ended, and nobody saves what is trained in {training.model_dir}")


def _end_if_terminated(task: Task) -> None:
    """SIGTERM came while a session was open that is lost now: there is nothing to save, so it does what it does."""
    if task.terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def poll_often(patches: Patches, task: Task) -> None:
    """ready-poll: a worker asks every 0.2 s whether the variables are initialised.

    Each time it makes a session, which costs the machine what the chief could use. So while the agent says that the
    chief has not initialised them it asks every second only, and at once when it says that it has. A session that takes
    long to make (a big graph) is asked for no more than half of the time.
    """
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
    not_ready = [""]  # what TensorFlow said when it last looked

    def noted(original: _Original, *args: Any) -> Any:
        is_ready, message = original(*args)
        not_ready[0] = "" if is_ready else str(message or "")
        return is_ready, message

    def wait_for_session(
        original: _Original, manager: Any, master: str, config: Any = None, max_wait_secs: float | None = None
    ) -> Any:
        ends_at = float("inf") if max_wait_secs is None else time.monotonic() + max_wait_secs
        logs_at, said = 0.0, ""
        _wait_for_chief(task, 0.0)
        while True:
            began_at = time.monotonic()
            try:  # with no time left it looks once, and says so in an error that nothing else raises
                return original(manager, master, config=config, max_wait_secs=0)
            except errors.DeadlineExceededError as error:
                now = time.monotonic()
                if "Session was not ready" not in str(error) or now >= ends_at:
                    raise
            _end_if_terminated(task)
            missing = _missing(not_ready[0], manager._graph)
            if now >= logs_at or missing != said:
                _log.info("Waiting for the chief to initialise the variables%s.", f": {missing}" if missing else "")
                task.channel.send(Waiting(what=Wait.SESSION, missing=missing))
                logs_at, said = now + _LOG_EVERY_S, missing
            _wait_for_chief(task, max(_POLL_S, now - began_at))

    def reported(original: _Original, *args: Any, **kwargs: Any) -> Any:
        task.channel.send(Waiting(what=Wait.SESSION))
        try:
            return wait_for_session(original, *args, **kwargs)
        finally:
            task.channel.send(Waiting(what=""))

    manager_class = _session_manager()
    patches.wrap(manager_class, "wait_for_session", reported)
    patches.wrap(manager_class, "_try_run_local_init_op", noted)
    patches.wrap(manager_class, "_model_ready", noted)


def _wait_for_chief(task: Task, otherwise_s: float) -> None:
    """Until the agent says that the chief has initialised the variables, at most a second or ``otherwise_s``, which is
    how long it takes where nothing of the kind is to be expected: not every chief says it."""

    def is_initialising() -> bool:
        gate = task.channel.gate
        return task.channel.is_open and gate is not None and not gate.variables_alive and not task.terminated

    if is_initialising():
        task.channel.wait(lambda: not is_initialising(), max(_CHIEF_S, otherwise_s))
    else:
        time.sleep(otherwise_s)


def _missing(message: str, graph: Any) -> str:
    """The variables that are not initialised, when others are: ``message`` is what SessionManager says of it. The
    chief initialises all of its own at once."""
    names = message.rpartition(_NOT_INITIALISED)[2].split(", ") if _NOT_INITIALISED in message else []
    if not names or len(names) >= len(graph.get_collection("variables")):
        return ""
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more


def close_soon(patches: Patches, task: Task) -> None:
    """session-close: a trainer does not wait long for a session to be closed, neither when its work is done and saved
    nor when it is to have another one, since a parameter server was lost. The closing goes on beside it."""

    def close(original: _Original, session: Any) -> None:
        if not session._target or sys.is_finalizing():  # while the interpreter ends no thread starts any more
            original(session)
            return
        closing = threading.Thread(target=original, args=(session,), name=CLOSING_THREAD, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    patches.wrap(_tf_session().BaseSession, "close", close)


def keep_live_variables(patches: Patches, task: Task) -> None:
    """chief-rejoin: a chief that comes back, or lost its link only, restores nothing that is still alive."""

    def prepare_session(original: _Original, manager: Any, master: str, *args: Any, **kwargs: Any) -> Any:
        training = task.training
        if not master or training is None or kwargs.get("checkpoint_filename_with_path"):
            return original(manager, master, *args, **kwargs)
        session = _live_session(manager, master, kwargs) if _may_be_alive(task, training) else None
        training.kept = session is not None
        return original(manager, master, *args, **kwargs) if session is None else session

    patches.wrap(_session_manager(), "prepare_session", prepare_session)


def _may_be_alive(task: Task, training: Training) -> bool:
    """Whether the parameter servers may hold the variables of this very training from before."""
    gate = task.channel.gate
    came_back = task.channel.attempt > 1 or training.sessions > 0
    return came_back and gate is not None and gate.variables_alive and gate.training == training.name


def _live_session(manager: Any, master: str, options: dict[str, Any]) -> Any:
    """A session in which every variable turned out to be initialised, else None.

    "Every" is what the scaffold's ``ready_for_local_init_op`` looks at: all global variables and shared resources.
    """
    if manager._ready_for_local_init_op is None or manager._ready_op is None:
        return None
    session = _tf_session().Session(master, graph=manager._graph, config=options.get("config"))
    is_alive, _ = manager._try_run_local_init_op(session)  # looks first; initialises nothing that lives on a ps
    if is_alive:
        is_alive, _ = manager._model_ready(session)
    if not is_alive:
        session.close()
        return None
    _recall_checkpoints(options.get("saver"), options.get("checkpoint_dir"))
    _log.info("All variables are alive on the parameter servers: nothing is restored.")
    return session


def _recall_checkpoints(saver: Any, checkpoint_dir: str | None) -> None:
    """Let the saver know the checkpoints that are there, as a restore does: it deletes old ones by this list."""
    management: Any = importlib.import_module("tensorflow.python.checkpoint.checkpoint_management")
    state = management.get_checkpoint_state(checkpoint_dir) if checkpoint_dir else None
    if saver is not None and state is not None:
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths)


def _session_manager() -> Any:
    return importlib.import_module(SESSION_MANAGER).SessionManager


def _tf_session() -> Any:
    return importlib.import_module(SESSION)
