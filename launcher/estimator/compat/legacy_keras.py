"""tf-keras, which is Keras 2, for Estimators on a TensorFlow whose own Keras is 3.

Estimators are written for Keras 2: canned ones make its layers and optimizers, and what programs give to Estimators
(models, metrics, RNN cells) has to be of one kind with that. So where a program uses Estimators, TensorFlow is told to
take Keras 2 for everybody (``launcher.wire.keras``).

Where Keras 3 stays, since the program shows no need of another or the user says so, tensorflow-estimator alone has
Keras 2: its modules are executed with an ``__import__`` of their own, for which ``import tensorflow as tf`` is a view
of TensorFlow that has tf-keras at the places where Keras belongs (the places are those of ``tensorflow/__init__.py``
and ``tensorflow/_api/v2/compat/v1/__init__.py``). Canned Estimators then work, and models of Keras 3 given to
Estimators do not.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from launcher.wire import keras
from launcher.wire.variables import LEGACY_KERAS_VARIABLE, UNNEEDED

_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/launcher/(?:agent|estimator)/")
_MOST_FRAMES = 40
_PACKAGE = "tensorflow_estimator"
_KERAS_V1 = "tf_keras.api._v1.keras"
_KERAS_V2 = "tf_keras.api._v2.keras"
_LEGACY_LAYERS = f"{_KERAS_V1}.__internal__.legacy.layers"
_LEGACY_CELLS = f"{_KERAS_V1}.__internal__.legacy.rnn_cell"


def give_to_estimator() -> None:
    """Execute every module of tensorflow_estimator that is imported from now on with the view.

    It stands in for the finder of ordinary files, and just before it: others who wait for these modules come first.
    """
    if not any(isinstance(finder, _EstimatorFinder) for finder in sys.meta_path):
        files: Any = importlib.machinery.PathFinder
        place = sys.meta_path.index(files) if files in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(place, _EstimatorFinder())


def fill_gaps(v1: Any) -> None:
    """Route ``layers`` and ``nn.rnn_cell`` of the module tf.compat.v1 to tf-keras.

    Keras 3 has neither: every use of them raises AttributeError, so nothing that works is changed.
    """
    v1.layers = _LazyModule(_LEGACY_LAYERS)
    v1.nn.rnn_cell = _LazyModule(_LEGACY_CELLS)


def wrong_guess() -> str:
    """What is to be said when an Estimator is made in a program that has shown no need of Keras 2; empty if it has."""
    is_wrong = os.environ.get(LEGACY_KERAS_VARIABLE) == UNNEEDED and not keras.is_legacy(os.environ)
    if not is_wrong or keras.has_own_estimator():
        return ""
    own = (frame for frame in _stack() if not _LIBRARY.search(frame.filename))
    place = next((f"{frame.filename}:{frame.lineno}" for frame in own), "the program")
    return (
        f"{place} makes an Estimator, which could not be foreseen: tf.keras is Keras 3, and Keras models, metrics and"
        " RNN cells given to an Estimator must be of Keras 2 (--tune legacy-keras; -legacy-keras if Keras 3 is meant)"
    )


def _stack() -> Iterator[traceback.FrameSummary]:
    """The newest call first."""
    return reversed(traceback.extract_stack(limit=_MOST_FRAMES))


class _LazyModule(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__internal__", "__version__"):  # asked by inspect, pickle
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))


class _View(ModuleType):
    """A module seen through: everything comes from ``base`` but what ``instead`` names."""

    def __init__(self, base: Any, instead: Mapping[str, Any]) -> None:
        super().__init__(base.__name__, base.__doc__)
        self.__dict__.update(_base=base, **instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_base"], name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__dict__["_base"]), *self.__dict__})


def _view_of_tensorflow(tensorflow: Any) -> _View:
    keras_v1, keras_v2 = _LazyModule(_KERAS_V1), _LazyModule(_KERAS_V2)
    compat = tensorflow.compat
    v1_nn = _View(compat.v1.nn, {"rnn_cell": _LazyModule(_LEGACY_CELLS)})
    v1 = _View(compat.v1, {"keras": keras_v1, "layers": _LazyModule(_LEGACY_LAYERS), "nn": v1_nn})
    of_keras = {
        name: _LazyModule(f"{_KERAS_V2}.{name}") for name in ("losses", "metrics", "optimizers", "initializers")
    }
    v2 = _View(compat.v2, {"keras": keras_v2, **of_keras})
    return _View(tensorflow, {"keras": keras_v2, "compat": _View(compat, {"v1": v1, "v2": v2}), **of_keras})


class _EstimatorFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _PACKAGE and not fullname.startswith(f"{_PACKAGE}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _EstimatorLoader(spec.loader.name, spec.loader.path)
        return spec


class _EstimatorLoader(importlib.machinery.SourceFileLoader):
    """Loads a source file whose ``import tensorflow as tf`` gets the view.

    A function looks up ``__import__`` in the ``__builtins__`` of its globals, so one entry there is enough
    (https://docs.python.org/3/reference/executionmodel.html#builtins-and-restricted-execution).
    """

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


_views: dict[int, _View] = {}


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    module = builtins.__import__(name, globals, locals, fromlist or (), level)
    if name != "tensorflow" or fromlist:
        return module
    view = _views.get(id(module))
    if view is None:
        view = _views[id(module)] = _view_of_tensorflow(module)
    return view
