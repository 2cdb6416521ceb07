"""A small training on streaming input that signs for itself: ``python -m tests.soak.job OPTIONS``, a JSON object.

``signed``: the file in which each attempt writes its task, number and pid; ``noise_mib``: what a task prints besides;
what else there is is for ``tests.launcher.estimator.streaming.plain``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_LINE = "a line of a task that has much to say, and says it again and again until the limit of its log is near"


def sign(file: Path) -> None:
    """One write, so that nothing comes between."""
    line = f"{os.environ['TFLAUNCH_TASK']} {os.environ['TFLAUNCH_ATTEMPT']} {os.getpid()}\n"
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    sign(Path(options.pop("signed")))
    for number in range(options.pop("noise_mib") * (1 << 20) // (len(_LINE) + 10)):
        print(f"{number:08} {_LINE}")
    from tests.launcher.estimator.streaming import plain

    plain.train(options)


if __name__ == "__main__":
    main()
