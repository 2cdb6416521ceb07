"""device-filters: a trainer talks to the parameter servers and to nobody else, whatever session_config a script has.

RunConfig sets device filters only where a script gives no ``session_config``
(``_maybe_overwrite_session_config_for_distributed_training`` in
``tensorflow_estimator/python/estimator/run_config.py``).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from launcher.estimator.patches import Patches
from launcher.estimator.task import Task

RUN_CONFIG = "tensorflow_estimator.python.estimator.run_config"
REDUCED_CLUSTER_VARIABLE = "TFLAUNCH_REDUCED_CLUSTER"
_PS = "ps"


def merge_filters(patches: Patches, task: Task) -> None:
    """Give every RunConfig in a cluster the default filters, unless the script has set some of its own."""

    def overwrite(original: Callable[..., Any], config: Any) -> None:
        original(config)
        given = config._session_config
        if given is not None and config._cluster_spec and not given.device_filters:
            default = config._get_default_session_config_distributed()
            if default is not None:
                given.device_filters.extend(default.device_filters)

    patches.wrap(_run_config(), "_maybe_overwrite_session_config_for_distributed_training", overwrite)


def name_own_address(patches: Patches, task: Task) -> None:
    """Where TF_CONFIG is reduced to the addresses that a task uses itself, tell the parameter servers this trainer's.

    A ``cluster_def`` in the session's configuration goes with the session to each of its servers (ClusterSpec
    propagation, ``tensorflow/core/protobuf/config.proto``), which then know where to fetch this trainer's tensors.
    """

    def overwrite(original: Callable[..., Any], config: Any) -> None:
        original(config)
        if config._session_config is not None and is_reduced(os.environ) and config._task_type in ("chief", "worker"):
            config._session_config.cluster_def.CopyFrom(_own_cluster(config).as_cluster_def())

    patches.wrap(_run_config(), "_maybe_overwrite_session_config_for_distributed_training", overwrite)


def is_reduced(environ: Mapping[str, str]) -> bool:
    """Whether the launcher left placeholders in TF_CONFIG for the tasks that this one never talks to."""
    return environ.get(REDUCED_CLUSTER_VARIABLE) == "1"


def _own_cluster(config: Any) -> Any:
    server_lib: Any = importlib.import_module("tensorflow.python.training.server_lib")
    jobs = config._cluster_spec.as_dict()
    own = jobs[config._task_type][config._task_id]
    return server_lib.ClusterSpec({_PS: jobs[_PS], config._task_type: {config._task_id: own}})


def _run_config() -> Any:
    return importlib.import_module(RUN_CONFIG).RunConfig
