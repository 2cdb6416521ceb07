"""A cluster's command without TensorFlow: each task does the words that are meant for it (see ``tests/fake_task.py``).

``fake_cluster.py ps=listen,hang chief=gate,step=5 'worker:1#1=exit=3' worker=exit=0``: the first pattern that fits the
task (role, index, attempt; each may be left out) gives its words.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fake_task


def fits(pattern: str, task: str, attempt: str) -> bool:
    name, _, number = pattern.partition("#")
    return name in (task, task.partition(":")[0]) and number in ("", attempt)


def main() -> None:
    task, attempt = os.environ["TFLAUNCH_TASK"], os.environ["TFLAUNCH_ATTEMPT"]
    for argument in sys.argv[1:]:
        pattern, _, words = argument.partition("=")
        if fits(pattern, task, attempt):
            sys.argv[1:] = words.split(",")
            return fake_task.main()
    sys.exit(f"no words for {task}, attempt {attempt}")


if __name__ == "__main__":
    main()
