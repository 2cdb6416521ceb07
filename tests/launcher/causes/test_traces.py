"""Tracebacks and last words as programs write them: chains, threads, noise, messages of many lines."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.causes.traces import defined_at, fault_frame, gist, last_trace, native_words, traces

CHAINED = """
def read(row):
    return int(row)
def load():
    try:
        read("planted")
    except ValueError as error:
        raise RuntimeError("cannot load\\nthe table") from error
def main():
    load()
main()
"""
ACCIDENT = """
try:
    {}["planted"]
except KeyError:
    missing_name
"""
IN_A_THREAD = """
import threading
thread = threading.Thread(target=lambda: [][1], name="reader")
thread.start()
thread.join()
raise SystemExit(1)
"""
IGNORED = """
class Closing:
    def __del__(self):
        raise OSError("while closing")
def main():
    raise LookupError("planted")
kept = Closing()
main()
"""
RECURSION = "def again(): again()\nagain()"
# As TensorFlow 2.21 writes it for a session of a cluster.
ROOTS = """
=====================
NOT_FOUND: From /job:ps/replica:0/task:0:
d.tfrecord; No such file or directory
\t [[{{node IteratorGetNext}}]]
Additional GRPC error information from remote target /job:chief/replica:0/task:0 while calling /tensorflow:
:UNKNOWN:Error received from peer  {grpc_status:5, grpc_message:"d.tfrecord; No such file or directory"}
Recent warning and error logs:
  W0000 00:00:1795397007.518951   19441 local_rendezvous.cc:412] Local rendezvous is aborting
=====================
"""
DETECTED = """Graph execution error:

Detected at node 'IteratorGetNext' defined at (most recent call last):
    File "/work/launcher/agent/inside/main_module.py", line 124, in run
    File "/work/train.py", line 196, in <module>
    File "/work/train.py", line 41, in model_fn
    File "/venv/lib/python3.11/site-packages/tensorflow/python/framework/ops.py", line 1221, in from_node_def
Node: 'IteratorGetNext'
From /job:chief/replica:0/task:0:
/nowhere/x.tfrecord; No such file or directory
\t [[{{node IteratorGetNext}}]]

Original stack trace for 'IteratorGetNext':
  File "/work/train.py", line 196, in <module>
"""


def said_by(source: str, path: str = "-c") -> str:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_chain_is_one_trace() -> None:
    trace = last_trace(said_by(CHAINED))
    assert trace is not None and [link.name for link in trace.links] == ["ValueError", "RuntimeError"]
    inner, outer = trace.links
    assert (outer.text, outer.explicit, inner.explicit) == ("cannot load\nthe table", True, False)
    assert inner.text == "invalid literal for int() with base 10: 'planted'"
    assert inner.frame is not None and (inner.frame.line, inner.frame.function) == (3, "read")


def test_what_happened_while_something_else_was_handled() -> None:
    trace = last_trace(said_by(ACCIDENT))
    assert trace is not None and [link.name for link in trace.links] == ["KeyError", "NameError"]
    assert not trace.outer.explicit and not trace.outer.deliberate


def test_a_thread_is_named() -> None:
    trace = last_trace(said_by(IN_A_THREAD))
    assert trace is not None and (trace.outer.name, trace.thread) == ("IndexError", "reader")


def test_what_python_ignores_is_not_what_ended_it() -> None:
    found = traces(said_by(IGNORED))
    assert [(trace.outer.name, trace.ignored) for trace in found] == [("LookupError", False), ("OSError", True)]
    trace = last_trace(said_by(IGNORED))
    assert trace is not None and trace.outer.text == "planted"


@pytest.mark.parametrize("name", ["SyntaxError", "IndentationError"])
def test_a_syntax_error_has_a_place(name: str) -> None:
    trace = last_trace(said_by("x = (1,\n  2" if name == "SyntaxError" else "if 1:\nx = 2"))
    assert trace is not None and trace.outer.name == name
    assert trace.outer.frame is not None and trace.outer.frame.path == "<string>"


def test_repeated_frames() -> None:
    trace = last_trace(said_by(RECURSION))
    assert trace is not None and trace.outer.name == "RecursionError"


def test_lines_of_other_writers_among_the_frames() -> None:
    lines = said_by(CHAINED).splitlines()
    noise = "2026-01-01 00:00:00.000001: W tensorflow/core/x.cc:1] noise: of another thread"
    mixed = "\n".join(
        line for pair in zip(lines, [noise, "I0000 00:00:1.2 3 x.cc:4] n"] * 99, strict=False) for line in pair
    )
    trace = last_trace(mixed)
    assert trace is not None and trace.outer.name == "RuntimeError" and trace.outer.text.startswith("cannot load")


def test_a_crlf_log_is_read() -> None:
    trace = last_trace(said_by(CHAINED).replace("\n", "\r\n"))
    assert trace is not None and trace.outer.name == "RuntimeError"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain", "plain"),
        ("", ""),
        ("first\nsecond\nthird", "first second"),
        (ROOTS, "d.tfrecord; No such file or directory"),
        (DETECTED, "/nowhere/x.tfrecord; No such file or directory"),
        (
            "2 root error(s) found.\n  (0) INVALID_ARGUMENT: Feature: z is required but could not be found.\n"
            "\t [[{{node P}}]]\n"
            "  (1) CANCELLED: no\n0 successful operations.",
            "Feature: z is required but could not be found.",
        ),
    ],
)
def test_the_gist_of_a_message(text: str, words: str) -> None:
    assert gist(text) == words


def test_where_an_operation_was_made() -> None:
    frame = defined_at(DETECTED)
    assert str(frame) == "/work/train.py:41 in model_fn"
    assert defined_at("nothing of the kind") is None
    told_again = DETECTED + DETECTED.partition('    File "/work/train.py", line 41')[0].replace(
        "in <module>", "in main"
    )  # cut
    assert str(defined_at(told_again)) == "/work/train.py:41 in model_fn"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I0000 00:00:1.1 2 x.cc:3] fine\nnothing", ""),
        ("F0000 00:00:17.12 1 tensor.cc:31] Check failed: a == b (1 vs. 2)\nmore", "Check failed: a == b (1 vs. 2)"),
        ("2026-01-01 10:00:00.1: F tensorflow/core/x.cc:5] Check failed: ok", "Check failed: ok"),
        (
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
            "std::bad_alloc: std::bad_alloc",
        ),
        ("Fatal Python error: Segmentation fault\n\nCurrent thread", "Segmentation fault"),
        ("free(): invalid pointer\n", "free(): invalid pointer"),
        (
            "python: symbol lookup error: ./op.so: undefined symbol: x",
            "symbol lookup error: ./op.so: undefined symbol: x",
        ),
        ("/bin/sh: 1: Cannot fork\n", "Cannot fork"),
        ("run.sh: fork: retry: Resource temporarily unavailable", "fork: retry: Resource temporarily unavailable"),
        (
            "\nlibgomp: Thread creation failed: Resource temporarily unavailable\n",
            "Thread creation failed: Resource temporarily unavailable",
        ),
    ],
)
def test_last_words_of_native_code(text: str, words: str) -> None:
    assert native_words(text) == words


def test_the_users_line_in_a_crash() -> None:
    stacks = (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n"
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at\n'
        '  File "/work/train.py", line 7 in crash\n  File "/work/train.py", line 9 in <module>\n'
    )
    assert str(fault_frame(stacks)) == "/work/train.py:7 in crash"


def test_an_error_that_is_cut_off_within_tensorflows_own_words_says_nothing() -> None:
    head = "Graph execution error:\n\nDetected at node 'Next' defined at (most recent call last):\n"
    assert gist(f'{head}    File "/venv/tensorflow/estim') == ""


ARGUMENTS = """
import argparse, traceback
def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int)
    return parser.parse_args(["--steps", "x"])
try:
    options()
except SystemExit:
    traceback.print_exc()
    raise SystemExit(1)
"""


def test_what_a_library_raised_and_caught_has_the_line_that_called_it() -> None:
    trace = last_trace(said_by(ARGUMENTS))
    assert trace is not None and [link.short_name for link in trace.links][-2:] == ["ArgumentError", "SystemExit"]
    at = trace.links[-2].frame
    assert at is not None and (at.path, at.function, at.line) == ("<string>", "options", 6)
    assert trace.links[-2].frames[-1].path.endswith("argparse.py")
