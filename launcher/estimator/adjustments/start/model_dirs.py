"""model-dir: an Estimator to which nobody gives a model_dir takes the run's own.

tf.estimator would take a temporary folder, another one in each task, so that the evaluator never sees a checkpoint
(``maybe_overwrite_model_dir_and_session_config`` in ``tensorflow_estimator/python/estimator/estimator.py``). A script
that names its own keeps it, which TF_CONFIG's ``model_dir`` would not allow.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task

VARIABLE = "TFLAUNCH_DEFAULT_MODEL_DIR"
ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"


def default_to_the_runs(patches: Patches, task: Task) -> None:
    """Give every Estimator without a model_dir the one that the launcher has made for the run."""
    default = os.environ.get(VARIABLE)
    if not default:
        return

    def overwrite(original: Callable[..., Any], config: Any, model_dir: Any) -> Any:
        if model_dir is None and getattr(config, "model_dir", None) is None:
            model_dir = default
        return original(config, model_dir)

    patches.wrap(importlib.import_module(ESTIMATOR), "maybe_overwrite_model_dir_and_session_config", overwrite)
