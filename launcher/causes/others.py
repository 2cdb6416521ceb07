"""Causes that are no task's death: what could not be had, and what took too long."""

from __future__ import annotations

from launcher import protocol
from launcher.causes.cause import Cause
from launcher.model import PlannedTask, Role


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
