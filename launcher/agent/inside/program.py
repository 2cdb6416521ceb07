"""Runs a Python program with tf.estimator and the adjustments brought in when it imports TensorFlow.

``python program.py script.py ARG…``, ``python program.py -m module ARG…`` or ``python program.py -c code ARG…``: for
tasks that are started by exec, in the user's interpreter. Standard library only.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    modules_at_start = frozenset(sys.modules)
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        del sys.path[0]
    _import_ours()
    from launcher.agent.inside import by_exec, ending, main_module

    ending.watch()
    main_module.run(by_exec.prepare(sys.argv[1:], modules_at_start))


def _import_ours() -> None:
    """Imports our package from beside this file, wherever it is and whatever the user's path holds."""
    path = sys.path[:]
    sys.path[:] = [os.path.realpath(__file__).rpartition("/launcher/agent/")[0] or "/"]
    import launcher  # noqa: F401

    sys.path[:] = path


if __name__ == "__main__":
    main()
