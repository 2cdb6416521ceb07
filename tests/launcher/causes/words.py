"""The table of docs/causes.md: each kind of failure with what tests show of it.

TFLAUNCH_WRITE_GOLDEN=1 writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher import causes
from launcher.record.states import Outcome, StopHow, exit_code
from launcher.wire import errors
from tests.launcher.causes import test_exits, test_hangs, test_kinds, test_repeats

INTRODUCTION = """# What went wrong, in words

When a run fails, its last lines, `status` and `report.json` (`cause`) name one cause: who, what happened, and what to
do about it. The causes have the kinds below. This page is made from the code and from the tests that show each message;
names and paths in it are examples.

## Exit codes

| code | outcome | when |
|---|---|---|
"""
ENDS = (
    (Outcome.SUCCEEDED, "", None, "the success policy is met"),
    (Outcome.FAILED, "exception", None, "a task has failed for good; and any kind below but `host`"),
    (None, "", None, "the command line, a spec or what a command was given is wrong; no run"),
    (Outcome.FAILED, "host", None, "kind `host`: a host, a port, a lock or a foreign process stands in the way"),
    (Outcome.TIMED_OUT, "timeout", None, "kinds `timeout` and `hang`: the deadline, a start, or nothing went on"),
    (Outcome.INTERRUPTED, "", StopHow.INTERRUPT, "Ctrl-C, SIGHUP, `tflaunch stop`"),
    (Outcome.INTERRUPTED, "", StopHow.TERMINATE, "SIGTERM"),
    (Outcome.LOST, "lost", None, "kind `lost`: the supervisor died without a word"),
)


@dataclass(frozen=True)
class Row:
    """One message. ``test``: the function that shows it."""

    cause: causes.Cause
    test: str


def rows() -> Iterator[Row]:
    """In the order of the tests; each advice of a kind once."""
    seen = set()
    for test, cause in _shown():
        key = (cause.kind, cause.advice.partition(";")[0])
        if key not in seen:
            seen.add(key)
            yield Row(cause, f"{test.__module__.rpartition('.')[2]}.{test.__name__}")


def _shown() -> Iterator[tuple[Any, causes.Cause]]:
    ends, repeats = test_exits, test_repeats
    for test, made in (
        (ends.test_kinds_of_exceptions, lambda text, *_: ends.of_raised(text)),
        (ends.test_what_a_death_is_called, lambda body, *_: causes.of_exit("here", body)),
        (ends.test_what_people_really_do_wrong_is_final_the_first_time,
         lambda text, *_: ends.of_raised(ends.raised(text))),
        (repeats.test_a_damaged_checkpoint_is_no_damaged_input,
         lambda text, through, _: repeats.died(repeats.trace(text, through=through))),
        (repeats.test_advice_of_common_mistakes, lambda raised, *_: repeats.died(raised)),
        (test_kinds.test_what_tensorflow_and_the_launcher_say, lambda text, *_: ends.of_raised(text)),
        (test_kinds.test_what_is_nobodys_death, lambda cause, *_: cause),
        (test_hangs.test_what_nobody_waits_for_any_longer, lambda cause, *_: cause),
    ):  # fmt: skip
        for values in test.pytestmark[0].args[1]:
            yield test, made(*values)


def text() -> str:
    """The page."""
    made = [INTRODUCTION]
    for outcome, kind, how, when in ENDS:
        code = errors.EXIT_USAGE if outcome is None else exit_code(outcome, kind, how)
        made.append(f"| {code} | {outcome or '(no run)'} | {when} |\n")
    found = list(rows())
    for kind, meaning in causes.KINDS.items():
        made.append(f"\n## {kind}\n\n{meaning[0].upper()}{meaning[1:]}.\n")
        of_kind = [row for row in found if row.cause.kind == kind]
        if of_kind:
            made.append("\n| message | what to do | started again | shown by |\n|---|---|---|---|\n")
        for row in of_kind:
            again = "no" if row.cause.permanent or row.cause.task is None else "yes"
            made.append(f"| {_cell(row.cause.message)} | {_cell(row.cause.advice)} | {again} | `{row.test}` |\n")
    return "".join(made)


def _cell(said: str) -> str:
    """Of a table in Markdown."""
    return " ".join(said.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
