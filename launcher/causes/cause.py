"""The value: one failure, and what is told of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from launcher.wire.protocol import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A failure. ``kind``: one of ``KINDS``. ``permanent``: starting the task again would end the same way.
    ``knock_on``: as a rule the consequence of another task's failure. ``tail``: its decisive lines. ``followed``: the
    failures that came of it, or after it. ``likeness``: what tells whether it fails the same way each time; empty
    where that is no sign that it will again."""

    task: str | None
    host: str | None
    kind: str
    message: str
    advice: str
    exit: int | None = None
    permanent: bool = False
    knock_on: bool = False
    tail: str = ""
    likeness: str = ""
    followed: tuple[Cause, ...] = ()


KINDS = {
    "arguments": "the script refuses its command line",
    "bad_input": "the records are not what the script expects",
    "checkpoint": "a checkpoint cannot be read, its files are damaged",
    "checkpoint_mismatch": "the model is not the one in the model_dir",
    "checkpoint_missing": "a checkpoint is named, but gone",
    "disk_full": "no space is left",
    "environment": "an environment variable is not set",
    "exception": "any other exception of Python",
    "exit": "an exit code, and no exception",
    "hang": "nothing goes on; the message says who waits for whom",
    "host": "a host, a port, a lock or a foreign process stands in the way",
    "import": "a module cannot be imported",
    "launcher": "an error of the launcher itself",
    "limit": "a limit of the system: open files, threads",
    "lost": "the supervisor died without a word",
    "member_lost": "another member of a collective is lost",
    "metric": "a metric that is used is not evaluated",
    "missing_input": "a file is not there",
    "nan_loss": "the loss is not a number",
    "not_started": "the command cannot be started",
    "out_of_memory": "memory is used up",
    "permission": "a file may not be read or written",
    "port": "a task cannot listen on its port",
    "ps_unreachable": "a parameter server is lost",
    "signal": "a signal that nobody of the launcher sent",
    "syntax": "the program is no Python of this version",
    "tf_config": "the script changes or misreads TF_CONFIG",
    "untrained": "no trainer has trained a step, or not where the others do",
    "timeout": "something took longer than its policy allows",
}


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
        "knock_on": [
            {"task": after.task, "host": after.host, "kind": after.kind, "message": after.message}
            for after in cause.followed
        ],
    }
