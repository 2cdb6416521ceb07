"""device-filters: a trainer talks to the parameter servers and to nobody else, whatever session_config a script has.

RunConfig sets device filters only where a script gives no ``session_config``
(``_maybe_overwrite_session_config_for_distributed_training`` in
``tensorflow_estimator/python/estimator/run_config.py``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task

RUN_CONFIG = "tensorflow_estimator.python.estimator.run_config"


def merge_filters(patches: Patches, task: Task) -> None:
    """Give every RunConfig in a cluster the default filters, unless the script has set some of its own."""

    def overwrite(original: Callable[..., Any], config: Any) -> None:
        original(config)
        given = config._session_config
        if given is not None and config._cluster_spec and not given.device_filters:
            default = config._get_default_session_config_distributed()
            if default is not None:
                given.device_filters.extend(default.device_filters)

    run_config: Any = importlib.import_module(RUN_CONFIG)
    patches.wrap(run_config.RunConfig, "_maybe_overwrite_session_config_for_distributed_training", overwrite)
