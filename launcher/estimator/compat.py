"""tf.estimator on TensorFlow 2.16 and newer.

TensorFlow dropped tf.estimator in 2.16 (https://github.com/tensorflow/tensorflow/releases/tag/v2.16.1). The package
tensorflow-estimator 2.15.0 still installs and its code still runs; ``install()`` supplies the few names of TensorFlow
that went with it, and puts ``estimator`` back where TensorFlow 2.15 has it. On TensorFlow 2.15 it does nothing.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from launcher.estimator import legacy_keras
from launcher.wire.post_import import after_import

_NAME = "estimator"
_API = "tensorflow_estimator.python.estimator.api"
_PIP_INSTALL = "python -m pip install tensorflow-estimator==2.15.0 tf-keras"
_NO_COORDINATOR = "the distribute coordinator of tf.estimator is not part of this TensorFlow; use TensorFlow 2.15.1"
_NO_TPU = "TPUEstimator needs parts of TensorFlow that went with 2.16; use TensorFlow 2.15.1"


class EstimatorMissingError(ImportError):
    """A package that tf.estimator needs is not installed; the text says what to install."""


def install() -> None:
    """Make ``tf.estimator`` and ``tf.compat.v1.estimator`` work; imports TensorFlow, but tensorflow-estimator only
    when it is used. Idempotent.

    Raises EstimatorMissingError if tensorflow-estimator, or the tf-keras that its canned estimators need, is missing.
    """
    import tensorflow

    if _NAME in vars(tensorflow):  # TensorFlow 2.15 has its own; else this was done before
        return
    _demand("tensorflow_estimator")
    _supply_modules()
    _supply_api_name()
    _supply_keras()
    _put_back(tensorflow, "_v2")
    for module, version in ((tensorflow.compat.v1, "_v1"), (tensorflow.compat.v2, "_v2")):
        _put_back(module, version)
        # Imported by its own name, it is executed a second time and replaces the first as tensorflow.compat's.
        name = f"tensorflow.compat.{version[1:]}"
        after_import(name, partial(_put_back_by_name, name, version))


def install_on_import() -> None:
    """Call ``install_if_possible()`` as soon as TensorFlow has been imported, at once if it already is. Imports nothing
    itself."""
    after_import("tensorflow", install_if_possible)


def install_if_possible() -> None:
    """``install()``, but without tensorflow-estimator TensorFlow stays as it is: a script that has no use for it goes
    on."""
    if importlib.util.find_spec("tensorflow_estimator") is not None:
        install()


def _demand(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise EstimatorMissingError(
            f"tf.estimator needs the package {package.replace('_', '-')}, which is not installed: {_PIP_INSTALL}"
        )


def _supply_modules() -> None:
    """The modules of TensorFlow that tensorflow-estimator imports by name and that are gone."""
    coordinator = _stand_in("tensorflow.python.distribute.estimator_training")
    vars(coordinator).update(
        init_run_config=_init_run_config,
        should_run_distribute_coordinator=_should_run_distribute_coordinator,
        train_and_evaluate=_refusal(_NO_COORDINATOR),
        estimator_train=_refusal(_NO_COORDINATOR),
        estimator_evaluate=_refusal(_NO_COORDINATOR),
    )
    for name in ("session_support", "tpu_embedding", "tpu_embedding_gradient"):
        full_name = f"tensorflow.python.tpu.{name}"
        if importlib.util.find_spec(full_name) is None:
            _stand_in(full_name, _TpuStandIn)


def _stand_in(name: str, kind: type[ModuleType] = ModuleType) -> ModuleType:
    module = kind(name, "Stands in for a module that TensorFlow 2.16 dropped.")
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(importlib.import_module(parent), child, module)
    return module


class _TpuStandIn(ModuleType):
    """Has any name; whatever is made of one says that TPUs are not supported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": _refusal(_NO_TPU), "__doc__": _NO_TPU})


def _refusal(message: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(message)

    return refuse


def _init_run_config(config: Any, tf_config: Any) -> None:
    """As ``tensorflow/python/distribute/estimator_training.py`` of 2.15 does where no coordinator runs."""
    if getattr(config, "_experimental_distribute", None):
        raise NotImplementedError(_NO_COORDINATOR)
    if tf_config and "cluster" in tf_config:
        raise NotImplementedError(_NO_COORDINATOR)
    config._distribute_coordinator_mode = None
    config._init_distributed_setting_from_environment_var(tf_config)
    config._maybe_overwrite_session_config_for_distributed_training()


def _should_run_distribute_coordinator(config: Any) -> bool:
    return False


def _supply_api_name() -> None:
    """The rows for 'estimator' in the tables of ``tensorflow/python/util/tf_export.py``."""
    tf_export: Any = importlib.import_module("tensorflow.python.util.tf_export")
    if hasattr(tf_export, "ESTIMATOR_API_NAME"):
        return
    tf_export.ESTIMATOR_API_NAME = _NAME
    for table, suffix in ((tf_export.API_ATTRS, ""), (tf_export.API_ATTRS_V1, "_v1")):
        kind = type(table[tf_export.TENSORFLOW_API_NAME])
        table[_NAME] = kind(f"_estimator_api_names{suffix}", f"_estimator_api_constants{suffix}")


def _supply_keras() -> None:
    """Keras 2 for the canned estimators."""
    if not _has_keras_2():
        _demand("tf_keras")
        legacy_keras.give_to_estimator()


def _has_keras_2() -> bool:
    """Whether TensorFlow itself has Keras 2: by TF_USE_LEGACY_KERAS, or because no newer one is installed."""
    keras = sys.modules.get("keras")
    return legacy_keras.is_chosen_by_user() or str(getattr(keras, "__version__", "3")).startswith("2.")


def _put_back_by_name(name: str, version: str) -> None:
    _put_back(sys.modules[name], version)


def _put_back(module: Any, version: str) -> None:
    """``estimator`` as an attribute and as a submodule, where ``tensorflow/__init__.py`` of 2.15 has it."""
    module.estimator = _LazyEstimator(f"{_API}.{version}.{_NAME}")
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
        module = importlib.import_module(self.__name__)
        vars(self).update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))
