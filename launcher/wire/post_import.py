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


def after_import(name: str, action: Action) -> None:
    """Call ``action`` once, right after the module ``name`` has been imported; at once if it already is.

    What ``action`` raises comes out of the import statement.
    """
    module = sys.modules.get(name)
    if module is not None and not _is_being_imported(module):
        action()
        return
    sys.meta_path.insert(0, _Finder(name, action))


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


class _Finder:
    """Finds one module as the others do, and wraps its loader."""

    def __init__(self, name: str, action: Action) -> None:
        self._name = name
        self._action = action

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
        loader: Any = _Loader(spec.loader, self._action)  # one by what it can do
        spec.loader = loader
        return spec


class _Loader:
    """Executes the module with its own loader, gives that back to it, then acts."""

    def __init__(self, loader: Loader, action: Action) -> None:
        self._loader = loader
        self._action = action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._action()
