"""What is the same failure again, and what a task has noted of damaged files."""

from __future__ import annotations

import pytest

from launcher import causes
from launcher.wire import protocol

SAVER = "/venv/lib/python3.11/site-packages/tensorflow/python/training/saver.py"


def died(raised: str, **more: object) -> causes.Cause:
    fields = {"exit_code": 1, "signal": None, **more}
    return causes.of_exit("here", protocol.Exited(task="chief:0", attempt=1, raised=raised, **fields))  # type: ignore[arg-type]


def trace(text: str, *, source: str = "go()", path: str = "/work/train.py", through: str = "") -> str:
    frames = f'  File "{path}", line 5, in main\n    {source}\n'
    frames += f'  File "{through}", line 9, in restore\n    run()\n' if through else ""
    return f"Traceback (most recent call last):\n{frames}{text}\n"


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("ValueError: odd row", True),
        ("x.InvalidArgumentError: indices[11] = 100 is not in [0, 100)", True),
        ("x.UnavailableError: Socket closed", False),
        ("x.AbortedError: from /job:worker", False),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", False),
        ("requests.exceptions.ReadTimeout: slow", False),
        ("OSError: [Errno 5] Input/output error", False),
        ("SystemExit: 1", False),
    ],
)
def test_what_fails_the_same_way_each_time(text: str, counts: bool) -> None:
    assert bool(died(trace(text)).likeness) is counts


def test_the_same_exception_elsewhere_is_another() -> None:
    one, other = died(trace("ValueError: a")), died(trace("ValueError: b", path="/work/other.py"))
    assert one.likeness != other.likeness and one.likeness == died(trace("ValueError: c")).likeness


@pytest.mark.parametrize(
    ("text", "through", "kind"),
    [
        ("x.OutOfRangeError: Read less bytes than requested", SAVER, "checkpoint"),
        ("x.DataLossError: Checksum does not match: stored 1 vs. calculated 2", SAVER, "checkpoint"),
        ("x.DataLossError: not an sstable (bad magic number)", "", "checkpoint"),
        ("x.OutOfRangeError: Read less bytes than requested", "", "exception"),
        ("x.DataLossError: truncated record at 9' failed with Read less bytes than requested", "", "bad_input"),
    ],
)
def test_a_damaged_checkpoint_is_no_damaged_input(text: str, through: str, kind: str) -> None:
    assert died(trace(text, through=through)).kind == kind


def test_damaged_files_that_the_task_has_found_are_named() -> None:
    noted = f"\n{protocol.DAMAGED_FILE}: /data/part 1.tfrecord\n"
    cause = died(trace("x.DataLossError: corrupted record at 0") + noted)
    assert cause.message.endswith("; damaged: /data/part 1.tfrecord")
    assert cause.advice.startswith("write /data/part 1.tfrecord again") and "verify '/data/part 1.tfr" in cause.advice
    assert "tflaunch" not in cause.tail
    noted = f"\n{protocol.DAMAGED_CHECKPOINT}: /m/model.ckpt-9\n{protocol.GOOD_CHECKPOINT}: /m/model.ckpt-5\n"
    cause = died(trace("x.OutOfRangeError: Read less bytes than requested", through=SAVER) + noted)
    assert "damaged: /m/model.ckpt-9" in cause.message and "go on from /m/model.ckpt-5" in cause.advice


def test_a_text_that_was_cut_off_is_that_of_the_exception_before() -> None:
    again = trace('x.DataLossError: Graph execution error:\n\n  File "/work/train.py", line 63, in main')
    meanwhile = "\nDuring handling of the above exception, another exception occurred:\n\n"
    cause = died(trace("x.DataLossError: truncated record at 9") + meanwhile + again)
    assert "DataLossError: truncated record at 9" in cause.message


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (trace("KeyError: 'WHERE'", path="<frozen os>"), "environment", "--env WHERE=VALUE"),
        (trace("KeyError: 'weight'", source="w = features['weight']"), "bad_input", "give 'weight'"),
        (trace("KeyError: 'weight'", source="d['weight']"), "exception", "correct"),
        (trace("RuntimeError: Graph is finalized and cannot be modified."), "exception", "begin()"),
    ],
)
def test_advice_of_common_mistakes(raised: str, kind: str, words: str) -> None:
    cause = died(raised)
    assert cause.kind == kind and words in cause.advice


def test_a_shell_that_cannot_fork_has_met_a_limit() -> None:
    cause = died("", exit_code=2, tail="/bin/sh: 1: Cannot fork")
    assert cause.kind == "limit" and "ulimit -u" in cause.advice


def test_a_crash_at_a_known_line_is_to_be_mended_there() -> None:
    cause = died("", exit_code=None, signal=11, crash='  File "/work/train.py", line 44 in after_run\n')
    advice = causes.used_up(cause, "chief", 3).advice
    assert advice.startswith("look at the native code that is called at /work/train.py:44 in after_run")
    assert "; or allow it more restarts" in advice
