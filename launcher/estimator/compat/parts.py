"""Stand-ins for the modules of TensorFlow that tensorflow-estimator imports by name and that went with 2.16."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

_NO_TPU = "TPUEstimator needs parts of TensorFlow that went with 2.16; use TensorFlow 2.15.1"
_TPU_MODULES = ("session_support", "tpu_embedding", "tpu_embedding_gradient")


class StrategyRefusedError(NotImplementedError):
    """A RunConfig has a strategy that needs the distribute coordinator of tf.estimator."""


def supply() -> None:
    """Put them where they are looked for."""
    coordinator = _stand_in("tensorflow.python.distribute.estimator_training")
    vars(coordinator).update(
        init_run_config=_init_run_config,
        should_run_distribute_coordinator=_should_run_distribute_coordinator,
        train_and_evaluate=_refuse_strategy,
        estimator_train=_refuse_strategy,
        estimator_evaluate=_refuse_strategy,
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
        return type(name, (), {"__init__": _refuse_tpu, "__doc__": _NO_TPU})


def _refuse_tpu(*args: object, **kwargs: object) -> NoReturn:
    raise NotImplementedError(_NO_TPU)


# --- tensorflow/python/distribute/estimator_training.py of 2.15, all but what runs the coordinator


def _init_run_config(config: Any, tf_config: Any) -> None:
    coordinator: Any = importlib.import_module("tensorflow.python.distribute.distribute_coordinator")
    given = config._experimental_distribute
    for name in ("train_distribute", "eval_distribute"):
        if given and getattr(given, name):
            if getattr(config, f"_{name}"):
                raise ValueError(f"Either `{name}` or `experimental_distribute.{name}` can be set.")
            setattr(config, f"_{name}", getattr(given, name))
    cluster = importlib.import_module("tensorflow").train.ClusterSpec(tf_config.get("cluster", {}))
    config._init_distributed_setting_from_environment_var({})
    if config._train_distribute and given and given.remote_cluster:
        if cluster:
            raise ValueError('Cannot set both "cluster_spec" of TF_CONFIG and `experimental_distribute.remote_cluster`')
        config._distribute_coordinator_mode = coordinator.CoordinatorMode.STANDALONE_CLIENT
        config._cluster_spec = given.remote_cluster
    elif not cluster or "master" in cluster.jobs or not config._train_distribute:
        config._distribute_coordinator_mode = None
        config._init_distributed_setting_from_environment_var(tf_config)
        config._maybe_overwrite_session_config_for_distributed_training()
    else:
        config._distribute_coordinator_mode = coordinator.CoordinatorMode.INDEPENDENT_WORKER
        config._cluster_spec = cluster


def _should_run_distribute_coordinator(config: Any) -> bool:
    mode = getattr(config, "_distribute_coordinator_mode", None)
    return isinstance(mode, str) and bool(config.cluster_spec)  # what else may be there is no mode


def _refuse_strategy(estimator: Any, *args: object, **kwargs: object) -> NoReturn:
    strategy = type(estimator.config.train_distribute).__name__
    raise StrategyRefusedError(
        f"RunConfig(train_distribute={strategy}) in a cluster needs the distribute coordinator of tf.estimator, which"
        " is no part of TensorFlow from 2.16 on: leave it out (train_and_evaluate trains with parameter servers without"
        " any strategy), or use TensorFlow 2.15.1"
    )
