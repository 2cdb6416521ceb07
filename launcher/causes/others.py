"""Causes that are no task's death: what could not be had, and what took too long."""

from __future__ import annotations

from launcher.causes.cause import Cause
from launcher.wire import protocol
from launcher.wire.words import limits


def refused(host: str, body: protocol.Refused) -> Cause:
    """A port, a lock or a foreign process stands in the way."""
    advice = _REFUSED_ADVICE.get(body.command, "")
    if body.command == "reserve" and not body.foreign:
        advice = "place fewer tasks there, give the host a wider range (hosts[].ports), or raise its limits (ulimit -n)"
    return Cause(
        task=body.task or None,
        host=host,
        kind="host",
        message=body.message + (f"; {_who(body)} has one" if body.command == "reserve" and body.foreign else ""),
        advice=advice.format(pid=body.foreign.get("pid", "")),
    )


def _who(body: protocol.Refused) -> str:
    """The process that stands in the way."""
    return "process {pid} ({command}, since {since})".format(**body.foreign)


_REFUSED_ADVICE = {
    "prove": "end process {pid}, or let this run take other ports",
    "reserve": "end that process, or give the host a wider range (hosts[].ports)",
    "see_model_dir": "let every host reach one shared folder by this path, or use gs://, hdfs:// or s3://",
    "lock_model_dir": "give this run a model_dir of its own (--model-dir)",
}


def not_started(task: str, host: str, message: str) -> Cause:
    if advice := limits.advice(message):
        return Cause(task=task, host=host, kind="limit", message=f"{task} cannot be started: {message}", advice=advice)
    return Cause(
        task=task, host=host, kind="not_started", permanent=True, message=message, advice="correct the command"
    )


def model_dirs_differ(task: str, host: str, own: str, chiefs: str) -> Cause:
    """A name that each task makes for itself, such as one with the time in it."""
    return Cause(
        task=task,
        host=host,
        kind="untrained",
        permanent=True,
        message=f"model_dir differs: chief:0 has {chiefs}, and {task} has {own}",
        advice="let every task have the same model_dir: make a name with the time, or a random number, in it once, and "
        "pass it to the command (--model-dir, or an argument)",
    )


def untrained(task: str, host: str, why: str) -> Cause:
    """A run in which no trainer has done a step, and nothing says that there was nothing left to do."""
    return Cause(
        task=task,
        host=host,
        kind="untrained",
        permanent=True,
        message=f"no trainer has trained a step; {task}: {why}",
        advice="see that the program calls tf.estimator.train_and_evaluate, and that its input has examples for every "
        "trainer",
    )


def host_lost(host: str, message: str, advice: str = "") -> Cause:
    what = f"host {host}: {message}"
    return Cause(task=None, host=host, kind="host", message=what, advice=advice or "see that it is up, and start again")


def too_few_workers(left: int, least: int) -> Cause:
    words = "1 worker is left" if left == 1 else f"{left} workers are left"
    return Cause(
        task=None,
        host=None,
        kind="host",
        message=f"{words}, and roles.worker.min is {least}",
        advice="see why the others are gone (report.json), and start again; or let it go on with fewer",
    )


def deadline(timeout_s: float, model_dir: str | None) -> Cause:
    again = f"start it again with --model-dir {model_dir} to go on from the last checkpoint, or " if model_dir else ""
    return Cause(
        task=None,
        host=None,
        kind="timeout",
        message=f"the run took longer than policy.timeout_s = {timeout_s:g} s",
        advice=f"{again}allow more time (--timeout-s)",
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
