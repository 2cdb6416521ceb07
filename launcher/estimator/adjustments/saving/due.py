"""save-look: the chief asks for the global step only when a checkpoint may be due.

With ``save_checkpoints_steps`` a CheckpointSaverHook fetches the global step in each step, then takes it to be up to a
million steps old (``_steps_per_run`` in ``tensorflow/python/training/basic_session_run_hooks.py``), and so asks the
parameter server once more after every step: the chief does half of what a worker does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task

HOOKS = "tensorflow.python.training.basic_session_run_hooks"
_STOCK = 1_000_000
_MARGIN = 2


def look_when_due(patches: Patches, task: Task) -> None:
    """Have each CheckpointSaverHook expect the global step to rise as it just did, twice over: a checkpoint that is due
    is written after the same step as before while the chief is alone, and at most one step of the chief later where
    workers have suddenly become faster. What a program has set itself stays."""

    def after_run(original: Callable[..., Any], hook: Any, run_context: Any, run_values: Any) -> Any:
        seen = int(run_values.results)
        before, expected = getattr(hook, "_tflaunch_rise", (None, _STOCK))
        if hook._steps_per_run == expected:
            if before is not None:
                hook._steps_per_run = max(1, _MARGIN * (seen - before))
            hook._tflaunch_rise = (seen, hook._steps_per_run)
        return original(hook, run_context, run_values)

    patches.wrap(importlib.import_module(HOOKS).CheckpointSaverHook, "after_run", after_run)
