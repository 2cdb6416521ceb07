"""``ReadingOptions(reader="process")``: a process of its own reads and parses, and feeds the trainer from memory.

The two-process arrangement of old: one process has the queue of files and reads them into memory without pause, the
other computes from memory. Batches come by ``tf.data`` service, whose dispatcher and worker are in the reader; leases
go to it, and what is read to its end comes back, over two pipes. The queue stays in the trainer: what it has not
trained is never acknowledged, whatever the reader has done with it.

    trainer: Leases  <- calls: open, take ------------  reader: Engine
                     <- notes: ended, skipped, failed
             get_next <- tf.data service -------------  dataset of batches
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.options import ReadingOptions, ignore
from launcher.estimator.streaming.reading.leases import Leases, ShardLeases
from launcher.estimator.streaming.reading.reader_calls import Ended, Failed, Open, Ready, Serving, Skipped, Take
from launcher.estimator.streaming.reading.threads import read_by_threads
from launcher.wire.protocol import TASK_SOCKET_VARIABLE
from launcher.wire.variables import GUARD_LOOPBACK_VARIABLE

START_TIMEOUT_S = 600.0
END_TIMEOUT_S = 10.0
OUTSTANDING_BATCHES = 4
LOST = "the process that reads this trainer's input has ended unexpectedly"

# Signals first: a Ctrl-C or a TERM for the whole group is the trainer's business, which may want to finish its step.
_PROGRAM = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[0] = sys.argv[1]
from launcher.estimator.streaming.reading.reader_process import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""
_NOT_FOR_READERS = frozenset({"TF_CONFIG", TASK_SOCKET_VARIABLE})


def read_by_process(open_leases: Callable[[], Leases], options: ReadingOptions) -> tf.data.Dataset:
    """As ``dataset.read``, from a process that this call starts, which takes a few
    seconds. ``on_skipped`` is called here. Raises StreamingError if it does not start.

    It ends with the graph in which the dataset was made, or with this process. If it dies before, this process ends
    with exit code 1 and a line that says so, since tf.data service would wait for it for ever.
    """
    reader = _Reader(open_leases, options)
    if tf.executing_eagerly():
        atexit.register(reader.end)
    else:
        weakref.finalize(tf.compat.v1.get_default_graph(), reader.end)
    with tf.Graph().as_default():
        element_spec = read_by_threads(lambda: ShardLeases([]), replace(options, reader="thread")).element_spec
    dataset = tf.data.experimental.service.from_dataset_id(
        "parallel_epochs",
        reader.serving.address,
        tf.constant(reader.serving.dataset),
        element_spec=element_spec,
        max_outstanding_requests=OUTSTANDING_BATCHES,
    )
    return dataset.prefetch(2)


class _Reader:
    """A reader process and the two threads that answer it."""

    def __init__(self, open_leases: Callable[[], Leases], options: ReadingOptions) -> None:
        self._open_leases = open_leases
        self._on_skipped = options.on_skipped
        self._opened: dict[int, Leases] = {}
        self._ending = False
        self._calls, calls = Pipe()
        self._notes, notes = Pipe()
        self._process = _start(calls, notes)
        self.serving = self._begin(replace(options, reader="thread", on_skipped=ignore))
        for work in (self._answer, self._listen):
            threading.Thread(target=work, name="streaming-reader", daemon=True).start()

    def end(self) -> None:
        """Idempotent."""
        self._ending = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _begin(self, options: ReadingOptions) -> Serving:
        try:
            self._calls.send(options)
            said = self._notes.recv() if self._notes.poll(START_TIMEOUT_S) else None
        except (EOFError, OSError):
            said = None
        if not isinstance(said, Serving):
            self._process.kill()
            code = self._process.wait()
            raise StreamingError(
                f"the process that is to read the input did not start (exit code {code}): see its lines above, "
                "or leave out reader='process'"
            )
        return said

    def _answer(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._calls.send(self._reply(self._calls.recv()))

    def _reply(self, call: Any) -> Any:
        try:
            if isinstance(call, Open):
                self._opened[call.number] = self._open_leases()
                return Ready()
            assert isinstance(call, Take)
            return self._opened[call.number].take(opened=call.opened)
        except Exception as error:  # noqa: BLE001  the top of a thread: it becomes the input's error
            return Failed(reason=f"{type(error).__name__}: {error}")

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._heed(self._notes.recv())
        code = self._process.wait()
        if not self._ending:
            sys.stdout.flush()
            sys.stderr.write(f"{LOST} ({_exit(code)}): start this task again\n")
            sys.stderr.flush()
            os._exit(1)

    def _heed(self, note: Any) -> None:
        if isinstance(note, Skipped):
            self._on_skipped(note.record)
        elif isinstance(note, Ended):
            self._opened[note.number].ended(note.lease, note.rows)


def _start(calls: Connection, notes: Connection) -> subprocess.Popen[bytes]:
    """The process, with its ends of the pipes, which this one then closes."""
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_READERS}
    root = str(Path(__file__).parents[4])
    numbers = (calls.fileno(), notes.fileno())
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, root, *map(str, numbers)],
        stdin=subprocess.PIPE,
        env=environ | {"CUDA_VISIBLE_DEVICES": "-1", GUARD_LOOPBACK_VARIABLE: "1"},
        pass_fds=numbers,
    )
    calls.close()
    notes.close()
    return process


def _exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
