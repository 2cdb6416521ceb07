"""tf.estimator on TensorFlow 2.16 and newer.

TensorFlow dropped tf.estimator in 2.16 (https://github.com/tensorflow/tensorflow/releases/tag/v2.16.1). The package
tensorflow-estimator 2.15.0 still installs and its code still runs; ``install()`` supplies the few names of TensorFlow
that went with it, and puts ``estimator`` back where TensorFlow 2.15 has it. On TensorFlow 2.15 it does nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from launcher.estimator.compat import layer_names, legacy_keras, names, parts
from launcher.wire import keras
from launcher.wire.post_import import after_import, is_being_imported
from launcher.wire.variables import ON

_API = "tensorflow_estimator.python.estimator.api"
_PIP_INSTALL = "python -m pip install tensorflow-estimator==2.15.0 tf-keras"


class EstimatorMissingError(ImportError):
    """A package that tf.estimator needs is not installed; the text says what to install."""


def install() -> None:
    """Make ``tf.estimator`` and ``tf.compat.v1.estimator`` work; imports TensorFlow, but tensorflow-estimator only
    when it is used. Idempotent.

    Raises EstimatorMissingError if tensorflow-estimator, or the tf-keras that it needs, is missing.
    """
    if not keras.has_own_estimator():
        _demand("tensorflow_estimator", "tf_keras")
    _install()


def install_on_import() -> None:
    """Choose the Keras, and ``install()``, when a program imports TensorFlow; at once if it already has. Imports
    nothing itself. Without tensorflow-estimator TensorFlow stays as it is: a program that has no use for it goes on."""
    if not is_being_imported("tensorflow"):  # else whoever imports it has seen to that
        after_import("tensorflow", install_if_possible, before=partial(keras.choose, os.environ, ON))


def install_if_possible() -> None:
    """``install()``, but what is missing is said at the first use of an Estimator."""
    if importlib.util.find_spec("tensorflow_estimator") is not None:
        _install()


def _demand(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise EstimatorMissingError(
                f"tf.estimator needs the package {package.replace('_', '-')}, which is not installed: {_PIP_INSTALL}"
            )


def _install() -> None:
    import tensorflow

    if names.NAME in vars(tensorflow):  # TensorFlow 2.15 has its own; else this was done before
        return
    parts.supply()
    names.supply_to_exports()
    names.forward()
    if not _has_keras_2():
        legacy_keras.give_to_estimator()
        layer_names.count_by_graph()
    _put_back(tensorflow, "_v2")
    for module, version in ((tensorflow.compat.v1, "_v1"), (tensorflow.compat.v2, "_v2")):
        _put_back(module, version)
        # Imported by its own name, it is executed a second time and replaces the first as tensorflow.compat's.
        name = f"tensorflow.compat.{version[1:]}"
        after_import(name, partial(_put_back_by_name, name, version))


def _has_keras_2() -> bool:
    """Whether TensorFlow itself has Keras 2: it was told to, or no newer one is installed."""
    version = getattr(sys.modules.get("keras"), "__version__", "3")
    return keras.is_legacy(os.environ) or str(version).startswith("2.")


def _put_back_by_name(name: str, version: str) -> None:
    _put_back(sys.modules[name], version)


def _put_back(module: Any, version: str) -> None:
    """``estimator`` as an attribute and as a submodule, where ``tensorflow/__init__.py`` of 2.15 has it."""
    module.estimator = _LazyEstimator(f"{_API}.{version}.{names.NAME}")
    package = importlib.util.find_spec("tensorflow_estimator")
    roots = package.submodule_search_locations if package else None
    folders = [str(Path(root, "python", "estimator", "api", version)) for root in roots or ()]
    module.__path__ = [*module.__path__, *folders]
    if version == "_v1" and not _has_keras_2():
        legacy_keras.fill_gaps(module)


class _LazyEstimator(ModuleType):
    """The estimator API, imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__path__", "__file__"):
            raise AttributeError(name)
        if not _has_keras_2():
            _demand("tf_keras")
        module = importlib.import_module(self.__name__)
        vars(self).update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))
