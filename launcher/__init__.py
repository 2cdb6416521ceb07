"""Launch, supervise and explain TensorFlow parameter-server clusters.

    from launcher import run
    result = run(["train.py", "--lr", "0.1"], workers=2, ps=1)

Importing this package does nothing and never imports TensorFlow; what it offers is loaded when it is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.api.result import Result, RunFailedError
    from launcher.api.run import Run
    from launcher.api.starting import arun, run, start
    from launcher.api.sweep import Trial, sweep
    from launcher.wire.errors import TflaunchError

__all__ = ["Result", "Run", "RunFailedError", "TflaunchError", "Trial", "arun", "run", "start", "sweep"]
__version__ = "0.1.0"

_HOMES = {
    "Result": "launcher.api.result",
    "Run": "launcher.api.run",
    "RunFailedError": "launcher.api.result",
    "TflaunchError": "launcher.wire.errors",
    "Trial": "launcher.api.sweep",
    "arun": "launcher.api.starting",
    "run": "launcher.api.starting",
    "start": "launcher.api.starting",
    "sweep": "launcher.api.sweep",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
