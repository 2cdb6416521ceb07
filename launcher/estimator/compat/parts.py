"""Stand-ins for the modules of TensorFlow that tensorflow-estimator imports by name and that went with 2.16."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

_NO_TPU = "TPUEstimator needs parts of TensorFlow that went with 2.16; use TensorFlow 2.15.1"
_TPU_MODULES = ("session_support", "tpu_embedding", "tpu_embedding_gradient")


class StrategyRefusedError(NotImplementedError):
    """A RunConfig has a strategy that needs the distribute coordinator of tf.estimator."""


def supply() -> None:
    """Put them where they are looked for."""
    coordinator = _stand_in("tensorflow.python.distribute.estimator_training")
    refuse = _refusal(StrategyRefusedError, _no_coordinator("train_distribute"))
    vars(coordinator).update(
        init_run_config=_init_run_config,
        should_run_distribute_coordinator=lambda config: False,
        train_and_evaluate=refuse,
        estimator_train=refuse,
        estimator_evaluate=refuse,
    )
    for name in _TPU_MODULES:
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
        return type(name, (), {"__init__": _refusal(NotImplementedError, _NO_TPU), "__doc__": _NO_TPU})


def _refusal(error: type[Exception], message: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise error(message)

    return refuse


def _init_run_config(config: Any, tf_config: Any) -> None:
    """As ``tensorflow/python/distribute/estimator_training.py`` of 2.15 does where no coordinator runs."""
    if getattr(config, "_experimental_distribute", None):
        raise StrategyRefusedError(_no_coordinator("experimental_distribute"))
    if tf_config and "cluster" in tf_config:
        argument = "train_distribute" if config._train_distribute else "eval_distribute"
        strategy = config._train_distribute or config._eval_distribute
        raise StrategyRefusedError(_no_coordinator(f"{argument}={type(strategy).__name__}"))
    config._distribute_coordinator_mode = None
    config._init_distributed_setting_from_environment_var(tf_config)
    config._maybe_overwrite_session_config_for_distributed_training()


def _no_coordinator(argument: str) -> str:
    return (
        f"RunConfig({argument}) in a cluster needs the distribute coordinator of tf.estimator, which is no part of"
        " TensorFlow from 2.16 on: leave it out (train_and_evaluate trains with parameter servers without any"
        " strategy), or use TensorFlow 2.15.1"
    )
