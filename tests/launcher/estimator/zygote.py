"""Run by the tests as a program: imports TensorFlow once, then forks one task for each line of JSON on its input.

A line has ``argv``, ``env``, ``log`` and ``tune`` (a list of adjustments, null: nothing is applied); the answer is the
task's pid. When one ends, ``{"pid": ..., "status": ...}`` is written.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
import traceback


def main() -> None:
    import tensorflow as tf

    from launcher.estimator import compat
    from launcher.estimator.adjustments import adjust

    compat.install()
    assert tf.estimator.Estimator
    _say({"ready": tf.__version__})
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(order, adjust)
        _say({"started": pid})


def _run(order: dict, adjust: object) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, fd in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(fd, number)
        os.environ.update(order["env"])
        if order["tune"] is not None:
            adjust.apply(frozenset(order["tune"]))
        sys.argv = order["argv"]
        runpy.run_path(order["argv"][0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    if threading.current_thread() is threading.main_thread():
        import atexit

        atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def _reap(*_: object) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(body: object) -> None:
    os.write(1, json.dumps(body).encode() + b"\n")


if __name__ == "__main__":
    main()
