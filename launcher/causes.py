"""Why something failed, in words: what happened, to whom, and what to do about it.

Pure: takes what the agent reported (exit, signal, last lines) and names a kind, a message and an advice.
"""

from __future__ import annotations

import re
import shlex
import signal as signals
from dataclasses import dataclass
from functools import partial

from launcher import protocol
from launcher.model import PlannedTask, Role
from launcher.protocol import JsonValue

_EXCEPTION_LINE = re.compile(
    r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning|Failure|Abort)\w*)(?::\s*(.*))?$"
)
_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?\)?\s*\Z")
_FRAME_LINE = re.compile(r'^  File "(.+)", line (\d+), in (.+)$')
_KNOCK_ON = ("UnavailableError", "AbortedError", "CancelledError")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A failure. ``kind``: exception, arguments, exit, signal, out_of_memory, not_started, host, timeout, hang.
    ``permanent``: starting the task again would end the same way. ``tail``: its last lines."""

    task: str | None
    host: str | None
    kind: str
    message: str
    advice: str
    exit: int | None = None
    permanent: bool = False
    knock_on: bool = False
    tail: str = ""


def of_exit(host: str, body: protocol.Exited) -> Cause:
    """The cause of a task's death, from how it ended and what it printed last."""
    made = partial(Cause, task=body.task, host=host, tail=body.tail)
    log = f"its whole output: tflaunch logs RUN {body.task}"
    if body.out_of_memory:
        return made(
            kind="out_of_memory",
            exit=-9,
            message=f"{body.task} was killed by the kernel: out of memory",
            advice="use fewer tasks on this host, a smaller batch or a smaller shuffle buffer, or give it more memory",
        )
    if body.signal is not None:
        name = _signal_name(body.signal)
        return made(
            kind="signal",
            exit=-body.signal,
            message=f"{body.task} was killed by {name}",
            advice=_SIGNAL_ADVICE.get(body.signal, f"see who sent {name}; {log}"),
        )
    exception = _last_exception(body.tail)
    if exception is not None:
        name, text, frame = exception
        where = f" ({frame})" if frame else ""
        return made(
            kind="exception",
            exit=body.exit_code,
            message=f"{body.task} raised {name}{': ' + text if text else ''}{where}",
            advice=_EXCEPTION_ADVICE.get(name.rsplit(".", 1)[-1], f"read the traceback, {log}"),
            knock_on=name.rsplit(".", 1)[-1] in _KNOCK_ON,
            permanent=name.rsplit(".", 1)[-1] in _PERMANENT,
        )
    missing = _NO_MODULE.search(body.tail) if body.exit_code == 1 else None
    if missing is not None:
        return made(
            kind="exception",
            exit=1,
            permanent=True,
            message=f"{body.task}: there is no module {missing[1]}",
            advice="correct the module's name, or install it for the interpreter of the tasks",
        )
    if body.exit_code == 2:
        return made(
            kind="arguments",
            exit=2,
            permanent=True,
            message=f"{body.task} refused its arguments (exit code 2)" + _last_line(body.tail),
            advice="correct the command",
        )
    if body.exit_code == 0:
        return made(
            kind="exit",
            exit=0,
            message=f"{body.task} ended (exit code 0) while the trainers still needed it",
            advice="a parameter server must serve until it is stopped: call tf.estimator.train_and_evaluate or "
            "server.join() in that role, too",
        )
    return made(
        kind="exit",
        exit=body.exit_code,
        message=f"{body.task} ended with exit code {body.exit_code}" + _last_line(body.tail),
        advice=log,
    )


_SIGNAL_ADVICE = {
    int(
        signals.SIGSEGV
    ): "a crash in native code: check that the versions of TensorFlow and of custom ops fit together",
    int(signals.SIGILL): "this TensorFlow needs a newer processor: install a build for this one",
    int(signals.SIGABRT): "a failed check in native code: its message is in the last lines of the log",
}
_EXCEPTION_ADVICE = {
    "NanLossDuringTrainingError": "the loss is not a number: lower the learning rate, and look for NaN in the input",
}
_PERMANENT = frozenset(
    {
        "NanLossDuringTrainingError",
        "ModuleNotFoundError",
        "ImportError",
        "SyntaxError",
        "IndentationError",
        "NameError",
        "UnrecognizedFlagError",
    }
)


def first(failures: tuple[Cause, ...], fatal: Cause) -> Cause:
    """Of all failures the one to name: the fatal one, unless that is a knock-on of an earlier one."""
    if fatal.knock_on:
        for failure in failures:
            if not failure.knock_on:
                return failure
    return fatal


def refused(host: str, body: protocol.Refused) -> Cause:
    """A port, a lock or a foreign process stands in the way."""
    return Cause(
        task=body.task or None,
        host=host,
        kind="host",
        message=body.message,
        advice=_REFUSED_ADVICE.get(body.command, ""),
    )


_REFUSED_ADVICE = {
    "prove": "stop that process, or let this run take other ports",
    "reserve": "free ports on that host or widen its range (hosts[].ports)",
    "lock_model_dir": "give this run a model_dir of its own (--model-dir)",
}


def not_started(task: str, host: str, message: str) -> Cause:
    return Cause(
        task=task, host=host, kind="not_started", permanent=True, message=message, advice="correct the command"
    )


def host_lost(host: str, message: str, advice: str = "") -> Cause:
    what = f"host {host}: {message}"
    return Cause(task=None, host=host, kind="host", message=what, advice=advice or "see that it is up, and start again")


def deadline(timeout_s: float, model_dir: str | None) -> Cause:
    again = f"start it again with --model-dir {model_dir} to go on from the last checkpoint, or " if model_dir else ""
    return Cause(
        task=None,
        host=None,
        kind="timeout",
        message=f"the run took longer than policy.timeout_s = {timeout_s:g} s",
        advice=f"{again}allow more time (--timeout-s)",
    )


def not_ready(planned: PlannedTask, timeout_s: float) -> Cause:
    what = "listened on its port" if planned.task.role is Role.PS else "opened its session"
    return Cause(
        task=planned.task.name,
        host=planned.host,
        kind="timeout",
        message=f"{planned.task} has not {what} within policy.start_timeout_s = {timeout_s:g} s",
        advice=f"see what it does: tflaunch logs RUN {planned.task}",
    )


def hang(global_step: int, hang_s: float) -> Cause:
    return Cause(
        task=None,
        host=None,
        kind="hang",
        message=f"the global step has stood at {global_step} for {hang_s:g} s while trainers were alive",
        advice="see where they wait in their logs; raise policy.hang_timeout_s if a step may take that long",
    )


def straggler(planned: PlannedTask, global_step: int, hang_s: float) -> Cause:
    return Cause(
        task=planned.task.name,
        host=planned.host,
        kind="hang",
        message=f"{planned.task} has not trained for {hang_s:.0f} s (its last step: {global_step}), while the chief "
        "waited for it to save",
        advice=f"the others' work is saved; see what it does: tflaunch logs RUN {planned.task}",
    )


def drain_timeout(planned: PlannedTask, bound_s: float) -> Cause:
    return Cause(
        task=planned.task.name,
        host=planned.host,
        kind="timeout",
        message=f"{planned.task} has not evaluated the last checkpoint within policy.evaluator_drain_s = {bound_s:g} s",
        advice="the model is trained and saved; give EvalSpec fewer steps or raise policy.evaluator_drain_s",
    )


def launcher_failed(error: BaseException | None) -> Cause:
    """An error of the launcher itself."""
    what = f"{type(error).__name__}: {error}" if error is not None else "it was cancelled"
    return Cause(
        task=None,
        host=None,
        kind="launcher",
        message=f"the launcher itself failed: {what}",
        advice="please report this, with the traceback in supervisor.log of the run folder",
    )


def to_json(cause: Cause, *, run: str) -> dict[str, JsonValue]:
    """The ``cause`` of ``report.json``. ``run``: what commands find the run by."""
    return {
        "task": cause.task,
        "host": cause.host,
        "kind": cause.kind,
        "exit": cause.exit,
        "message": cause.message,
        "advice": cause.advice.replace("logs RUN", f"logs {shlex.quote(run)}"),
        "tail": cause.tail,
    }


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(tail: str) -> str:
    lines = [line for line in tail.splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""


def _last_exception(tail: str) -> tuple[str, str, str] | None:
    """Name, text and last frame of the newest traceback in ``tail``, None if there is none."""
    lines = tail.splitlines()
    for number in range(len(lines) - 1, -1, -1):
        match = _EXCEPTION_LINE.match(lines[number])
        if match is None:
            continue
        frames = [frame for line in lines[:number] if (frame := _FRAME_LINE.match(line))]
        if not frames and not any(line.startswith("Traceback ") for line in lines[:number]):
            continue
        where = f"{frames[-1][1]}:{frames[-1][2]} in {frames[-1][3]}" if frames else ""
        return match[1], (match[2] or "")[:300], where
    return None
