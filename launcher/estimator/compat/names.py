"""The names by which code reaches tf.estimator beside ``tf.estimator``, as TensorFlow 2.15 has them."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

NAME = "estimator"
_OLD, _NEW = "tensorflow.python.estimator", "tensorflow_estimator.python.estimator"
_RENAMED = {f"{_NEW}.keras": f"{_NEW}.keras_lib"}


def forward() -> None:
    """Have ``tensorflow.python.estimator`` and what is below it be the modules of tensorflow-estimator: DeepCTR and
    EasyRec import them so."""
    if not any(isinstance(finder, _Forwarder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Forwarder())


class _Forwarder:
    """Finds a module under its old name; asked first, since by the path of its package it would be loaded again."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        new = f"{_NEW}{fullname.removeprefix(_OLD)}" if f"{fullname}.".startswith(f"{_OLD}.") else fullname
        new = _RENAMED.get(new, new)
        if new == fullname:
            return None
        try:
            module = importlib.import_module(new)
        except ModuleNotFoundError as error:
            if error.name != new:
                raise
            return None
        loader: Any = _Found(module)  # one by what it can do
        return importlib.machinery.ModuleSpec(fullname, loader)


class _Found:
    """'Loads' a module that is there: importlib sets ``__spec__``, so the original is put back."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def supply_to_exports() -> None:
    """The rows for 'estimator' in ``tensorflow/python/util/tf_export.py``, and what its functions find by them."""
    tf_export: Any = importlib.import_module("tensorflow.python.util.tf_export")
    if hasattr(tf_export, "ESTIMATOR_API_NAME"):
        return
    tf_export.ESTIMATOR_API_NAME = NAME
    for table, suffix in ((tf_export.API_ATTRS, ""), (tf_export.API_ATTRS_V1, "_v1")):
        kind = type(table[tf_export.TENSORFLOW_API_NAME])
        table[NAME] = kind(f"_estimator_api_names{suffix}", f"_estimator_api_constants{suffix}")
    for version, table in (("v1", tf_export.API_ATTRS_V1), ("v2", tf_export.API_ATTRS)):
        _extend(tf_export, f"get_{version}_names", partial(_own, table[NAME].names))
        _extend(tf_export, f"get_{version}_constants", partial(_own, table[NAME].constants))


def _own(attribute: str, symbol: Any) -> Sequence[Any]:
    found: Sequence[Any] = getattr(symbol, "__dict__", {}).get(attribute, ())
    return found


def _extend(module: Any, name: str, more: Callable[[Any], Sequence[Any]]) -> None:
    original: Callable[[Any], list[Any]] = getattr(module, name)
    setattr(module, name, lambda symbol: [*original(symbol), *more(symbol)])
