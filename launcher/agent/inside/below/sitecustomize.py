"""What Python imports at its start in programs that a task starts; see ``__init__.py`` beside this.

It runs in every one of them, of whatever version, and so does next to nothing before one imports TensorFlow.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
_ROOT = _HERE.rpartition("/launcher/agent/")[0] or "/"
_AWAITED = ("tensorflow", "launcher", "jobs")


def _begin() -> None:
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != _HERE]
    if sys.version_info >= (3, 10) and os.environ.get("TFLAUNCH_RUN"):
        sys.meta_path.insert(0, _Waiting(tuple(sys.path)))
    _import_the_users()


def _import_the_users() -> None:
    """The sitecustomize that this one is found before, if there is one."""
    sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", None) != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = _this


class _Waiting:
    """Waits for the import of TensorFlow, or of our own packages."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self._path = path

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname not in _AWAITED:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        _prepare(self._path)
        return importlib.util.find_spec(fullname)


def _prepare(start_path: tuple[str, ...]) -> None:
    """Has our package do the rest. It is imported as at the start of the interpreter: the program may have modules of
    its own by the names of those that ours needs."""
    path = sys.path[:]
    sys.path[:] = [_ROOT, *start_path]
    try:
        from launcher.agent.inside.below import hooks
    finally:
        sys.path[:] = path
    hooks.prepare(start_path)


_this = sys.modules[__name__]
_begin()
