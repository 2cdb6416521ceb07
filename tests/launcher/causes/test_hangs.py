"""Who is blamed when nothing goes on, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher import causes
from launcher.causes import Standing
from launcher.wire import protocol
from launcher.wire.roles import TaskId

TENSORFLOW = """Thread 0x00007f01 (most recent call first):
  File "/work/launcher/estimator/channel.py", line 197 in _serve
    ready = dict(poll.poll())
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007f02 (most recent call first):
  File "/venv/lib/python3.11/site-packages/tensorflow/python/client/session.py", line 1483 in _call_tf_sessionrun
    return tf_session.TF_SessionRun_wrapper(self._session, options, feed_dict,
  File "/venv/site-packages/tensorflow_estimator/python/estimator/estimator.py", line 15 in _train_with_estimator_spec
  File "/work/train.py", line 40 in main
    tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec)
"""
READER = """Thread 0x00007f03 (most recent call first):
  File "/work/train.py", line 12 in rows
    time.sleep(3600)
  File "/venv/site-packages/tensorflow/python/data/ops/from_generator_op.py", line 198 in generator_py_func
"""
LOCKED = """Current thread 0x00007f04 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
    waiter.acquire()
  File "/work/train.py", line 20 in main
    done.wait()
"""


def stands(
    task: str, text: str = TENSORFLOW, *, state: str = "S", files: tuple[str, ...] = (), **values: Any
) -> Standing:
    stacks = protocol.Stacks(
        task=task, attempt=1, pid=77, state=state, text=text, files=files, last_lines=("begins", "ready soon")
    )
    facts = {"alive": True, "ready": True, "finished": False, "waits_for": "", "global_step": 120, "since_s": 40.0}
    return Standing(
        task=task,
        role=TaskId.parse(task).role,
        host="a",
        stacks=stacks,
        **{**facts, **values},  # type: ignore[arg-type]
    )


def hang(*standings: Standing) -> causes.Cause:
    return causes.hang(standings, 120, 30.0)


def test_a_paused_server_is_what_everybody_waits_for() -> None:
    cause = hang(stands("ps:0", "", state="T"), stands("chief:0"), stands("worker:1"))
    assert (cause.task, cause.kind) == ("ps:0", "hang")
    assert cause.message == (
        "the global step has stood at 120 for 30 s: chief:0 and worker:1 wait for ps:0, which is paused "
        "(process 77 was stopped by a signal such as SIGSTOP)"
    )
    assert "kill -CONT 77 on a" in cause.advice


def test_a_server_that_does_not_listen() -> None:
    cause = hang(
        stands("ps:0", READER, ready=False), stands("chief:0", waits_for="gate"), stands("worker:1", waits_for="gate")
    )
    assert "chief:0 and worker:1 wait for ps:0, which is alive but has not listened for 40 s" in cause.message
    assert "/work/train.py:12 in rows: time.sleep(3600)" in cause.message
    assert cause.message.endswith("its last line was: ready soon")


def test_a_chief_that_never_initialises() -> None:
    waits = [stands(name, waits_for="session", ready=False) for name in ("worker:0", "worker:1")]
    cause = hang(stands("ps:0", ""), stands("chief:0", LOCKED, ready=False), *waits)
    assert "worker:0 and worker:1 wait for chief:0, which is at /work/train.py:20 in main: done.wait()" in cause.message
    assert cause.task == "chief:0" and "/work/train.py:20 in main: done.wait()" in cause.tail


def test_code_of_the_user_in_a_thread_of_tensorflow() -> None:
    cause = hang(stands("ps:0", ""), stands("chief:0"), stands("worker:1", READER + TENSORFLOW))
    assert cause.task == "worker:1" and "at /work/train.py:12 in rows: time.sleep(3600)" in cause.message


def test_a_file_that_cannot_be_read_is_what_everybody_waits_for() -> None:
    cause = hang(stands("ps:0", ""), stands("chief:0"), stands("worker:1", files=("/data/a.tfrecord",)))
    assert (cause.task, cause.kind) == ("worker:1", "hang")
    assert cause.message.endswith("worker:1 waits for the file /data/a.tfrecord")
    assert "see whether /data/a.tfrecord can be read on a: it may be a named pipe" in cause.advice
    waiting = [stands(name, files=("/data/a",)) for name in ("chief:0", "worker:0", "worker:2")]
    cause = hang(stands("ps:0", ""), *waiting, stands("worker:1", LOCKED))
    assert cause.message.endswith(
        "chief:0 waits for the file /data/a (the same: worker:0 and worker:2); "
        "worker:1 is at /work/train.py:20 in main: done.wait()"
    )


def test_when_nobody_can_be_blamed_everybody_is_described() -> None:
    cause = hang(stands("ps:0", ""), stands("chief:0"), stands("worker:1"))
    assert cause.task is None
    assert cause.message.endswith(": ps:0 serves; chief:0 is in a training step (the same: worker:1)")
    assert "stacks" in cause.advice
    many = [stands(f"worker:{index}") for index in range(50)]
    assert hang(stands("ps:0", ""), stands("chief:0"), *many).message.endswith(
        "chief:0 is in a training step (the same: worker:0, worker:1, worker:2 and 47 more)"
    )


def test_a_server_that_is_gone() -> None:
    cause = hang(stands("ps:0", alive=False), stands("chief:0"))
    assert "chief:0 waits for ps:0, which does not run" in cause.message


def test_who_is_busy_elsewhere_is_named_too() -> None:
    cause = hang(stands("ps:0", ""), stands("chief:0", LOCKED), stands("worker:0", READER))
    assert cause.task == "chief:0" and cause.message.endswith(
        "; worker:0 is at /work/train.py:12 in rows: time.sleep(3600)"
    )


def test_a_late_start_names_who_holds_it_up() -> None:
    late = stands("worker:0", waits_for="session", ready=False)
    cause = causes.not_ready((stands("ps:0", ""), stands("chief:0", LOCKED, ready=False), late), late, 300.0)
    assert (cause.task, cause.kind) == ("chief:0", "timeout")
    assert cause.message.startswith("worker:0 has not opened its session within policy.start_timeout_s = 300 s")


def test_who_raised_and_does_not_end() -> None:
    traceback = 'Traceback (most recent call last):\n  File "/work/train.py", line 3, in f\n    g()\nValueError: odd\n'
    stacks = protocol.Stacks(task="chief:0", attempt=1, pid=7, state="S", text=LOCKED, raised=traceback)
    cause = hang(stands("ps:0", ""), replace(stands("chief:0"), stacks=stacks), stands("worker:0"))
    assert (cause.task, cause.kind) == ("chief:0", "hang")
    assert "which raised ValueError: odd (/work/train.py:3 in f), and has not ended since" in cause.message


def test_a_straggler_and_an_evaluator() -> None:
    cause = causes.straggler(stands("worker:1", READER))
    assert (cause.task, cause.kind) == ("worker:1", "hang") and "it is at /work/train.py:12" in cause.message
    cause = causes.drain_timeout(stands("evaluator:0", LOCKED), 900.0)
    assert cause.kind == "timeout" and "it is at /work/train.py:20" in cause.message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"waits_for": "barrier"}, "waits for the other trainers"),
        ({"state": "D"}, "disk"),
        ({"text": ""}, "where it waits is not known"),
    ],
)
def test_what_a_trainer_does(values: dict[str, Any], words: str) -> None:
    assert words in causes.does(stands("worker:0", **values))


EVERYBODY_WAITS = (stands("ps:0", "", state="T"), stands("chief:0"), stands("worker:0"))
LATE = stands("ps:0", "", ready=False)


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (hang(*EVERYBODY_WAITS), "hang", "hang_timeout_s"),
        (hang(stands("ps:0", ""), stands("chief:0", READER)), "hang", "hang_timeout_s"),
        (causes.straggler(stands("worker:1", READER)), "hang", "the others' work is saved"),
        (causes.not_ready((LATE, stands("chief:0")), LATE, 300.0), "timeout", "start_timeout_s"),
        (causes.drain_timeout(stands("evaluator:0", LOCKED), 900.0), "timeout", "evaluator_drain_s"),
    ],
)
def test_what_nobody_waits_for_any_longer(cause: causes.Cause, kind: str, words: str) -> None:
    assert cause.kind == kind and words in cause.advice


def test_a_variable_that_the_chief_does_not_have_is_named() -> None:
    """The graph of a worker has a variable more: nobody will ever initialise it."""
    late = stands("worker:1", waits_for="session", missing="average_x")
    cause = hang(stands("ps:0", ""), stands("chief:0", finished=True, alive=False), late)
    assert (cause.task, cause.kind) == ("worker:1", "hang")
    assert "worker:1 waits for variables that no task initialises: average_x" in cause.message
    assert "the same graph in every role" in cause.advice
