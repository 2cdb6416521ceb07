"""Runs a function when a module has been imported, without importing it.

For interpreters that a launcher starts by exec: what has to be done to TensorFlow is done when the user's script
imports TensorFlow, and a script that never does pays nothing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:  # these two modules take a program longer to import than all the rest of this
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from typing import Any

Action = Callable[[], None]


def after_import(name: str, action: Action, *, before: Action = lambda: None) -> None:
    """Call ``action`` once, right after the module ``name`` has been imported; at once if it already is. ``before`` is
    called right before it is executed, if it has not been.

    What they raise comes out of the import statement.
    """
    if name in sys.modules and not is_being_imported(name):
        action()
        return
    sys.meta_path.insert(0, _Finder(name, action, before))


def is_being_imported(name: str) -> bool:
    """Whether the import of this module has begun and is not over."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


class _Finder:
    """Finds one module as the others do, and wraps its loader."""

    def __init__(self, name: str, action: Action, before: Action) -> None:
        self._name = name
        self._action = action
        self._before = before

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return None
        loader: Any = _Loader(spec.loader, self._action, self._before)  # one by what it can do
        spec.loader = loader
        return spec


class _Loader:
    """Executes the module with its own loader, gives that back to it, then acts."""

    def __init__(self, loader: Loader, action: Action, before: Action) -> None:
        self._loader = loader
        self._action = action
        self._before = before

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._before()
        self._loader.exec_module(module)
        self._action()
