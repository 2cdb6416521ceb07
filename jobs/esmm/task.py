"""What TF_CONFIG says of this process, for what has to be known before TensorFlow is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import JobError
from launcher.estimator.adjustments.start.model_dirs import VARIABLE as RUNS_MODEL_DIR


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """``role`` is ps, chief, worker or evaluator; empty for a process without a cluster. ``model_dir``: TF_CONFIG's;
    ``default_model_dir``: what a launcher has made for a job to which nobody gives one."""

    role: str
    model_dir: str | None
    default_model_dir: str | None = None


def this_task(environ: Mapping[str, str] = os.environ) -> Task:
    """Reads TF_CONFIG; tf.estimator validates the rest of it. Raises JobError where it is no JSON object."""
    text = environ.get("TF_CONFIG") or "{}"
    try:
        value = json.loads(text)
        role = str(value.get("task", {}).get("type", "")) if value.get("cluster") else ""
        return Task(role=role, model_dir=value.get("model_dir"), default_model_dir=environ.get(RUNS_MODEL_DIR))
    except (ValueError, AttributeError) as error:
        raise JobError(f"TF_CONFIG is not the JSON object that tf.estimator expects: {error}") from None


def resolve_model_dir(flag: str | None, task: Task) -> str:
    """The flag, else TF_CONFIG's, else the run's own. Raises JobError where there is none, or where the first two
    differ."""
    if flag and task.model_dir and flag != task.model_dir:
        raise JobError(f"--model-dir {flag} is not the model_dir of TF_CONFIG, {task.model_dir}; leave one out")
    model_dir = flag or task.model_dir or task.default_model_dir
    if not model_dir:
        raise JobError("no model_dir: give --model-dir, or model_dir in TF_CONFIG")
    if Path(model_dir).is_file():
        raise JobError(f"the model_dir {model_dir} is a file; name a folder")
    return model_dir
