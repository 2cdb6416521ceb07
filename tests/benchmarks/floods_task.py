"""A task that floods its output when the file ``go`` appears, while it says each quarter of a second that it lives.

    python floods_task.py FOLDER WHICH KIND

``WHICH``: the tasks that flood, ``chief:0`` or ``all``. Beats are checkpoints whose step is the time, in milliseconds
since the epoch, so that the run's events show how late each was heard.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path

_BEAT_S = 0.25
_LINE = b"%012d what a task has to say is about as long as this line, which has a hundred bytes or so....\n"


def gigabyte() -> None:
    """1 GB in 10 s."""
    piece = b"".join(_LINE % number for number in range(10_000))
    began = time.monotonic()
    for number in range(1_000_000_000 // len(piece)):
        say(piece)
        time.sleep(max(0.0, began + 10 * number * len(piece) / 1e9 - time.monotonic()))


def line() -> None:
    """One of 100 MB."""
    for _ in range(100):
        say(b"x" * 1_000_000)
    say(b"\n")


def lines() -> None:
    """A million, a hundred at a time."""
    for first in range(0, 1_000_000, 100):
        say(b"".join(b"%012d a short line of a task\n" % number for number in range(first, first + 100)))


KINDS = {"gigabyte": gigabyte, "line": line, "lines": lines}
_said = hashlib.sha256()
_size = 0


def say(data: bytes) -> None:
    global _size
    _said.update(data)
    _size += len(data)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def flood(folder: Path, kind: str) -> None:
    """In a process of its own, so that this interpreter's lock keeps no beat back. Leaves what it said, as a digest."""
    began = time.monotonic()
    KINDS[kind]()
    facts = {"sha256": _said.hexdigest(), "bytes": _size, "seconds": time.monotonic() - began}
    folder.joinpath(os.environ["TFLAUNCH_TASK"].replace(":", "-")).write_text(json.dumps(facts))


def main() -> None:
    folder, which, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    task, attempt = os.environ["TFLAUNCH_TASK"], int(os.environ["TFLAUNCH_ATTEMPT"])
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(os.environ["TFLAUNCH_TASK_SOCKET"])

    def tell(**message: object) -> None:
        agent.sendall(json.dumps(message).encode() + b"\n")

    tell(kind="task_hello", task=task, attempt=attempt, pid=os.getpid())
    pid = 0
    while True:
        tell(kind="checkpoint_saved", global_step=int(time.time() * 1000), path="")
        time.sleep(_BEAT_S)
        if not pid and which in ("all", task) and (folder / "go").exists():
            pid = os.fork()
            if not pid:
                flood(folder, kind)
                os._exit(0)
        if (folder / "end").exists() and (not pid or os.waitpid(pid, os.WNOHANG)[0]):
            return


if __name__ == "__main__":
    main()
