"""roaming: know whether a program divides its input by the number of trainers, which then must not change unasked.

What counts is who asks: a line of the program itself, not TensorFlow, which reads these numbers all the time, nor this
library, whose streaming queue shares out by need.
"""

from __future__ import annotations

import _collections_abc
import dis
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task
from launcher.wire.protocol import Divides

RUN_CONFIG = "tensorflow_estimator.python.estimator.run_config"
DATASET = "tensorflow.python.data.ops.dataset_ops"
ENVIRONMENT = "os"
_NUMBERS = ("num_worker_replicas", "cluster_spec")
_TEXT = "TF_CONFIG"
_GETENV = (("getenv", os.__file__), ("getenv", "<frozen os>"))
_STANDARD = (os.__file__, "<frozen os>", _collections_abc.__file__, "<frozen _collections_abc>")
_OURS = str(Path(__file__).parents[3])
_LIBRARIES = ("tensorflow", "tensorflow_estimator", "tf_keras", "keras")


def watch_numbers(patches: Patches, task: Task) -> None:
    """Know who reads how many trainers there are."""
    run_config: Any = importlib.import_module(RUN_CONFIG).RunConfig
    for name in _NUMBERS:
        patches.set(run_config, name, property(_told(task, getattr(run_config, name).fget, f"reads {name}")))


def watch_datasets(patches: Patches, task: Task) -> None:
    """Know who takes every n-th element of a dataset."""
    module: Any = importlib.import_module(DATASET)
    for kind in dict.fromkeys((module.DatasetV2, module.DatasetV1)):
        patches.set(kind, "shard", _told(task, kind.shard, "calls Dataset.shard"))


def watch_text(patches: Patches, task: Task) -> None:
    """Know who reads TF_CONFIG's text, in which their number stands beside the task's own name."""
    environ: Any = type(os.environ)
    original = environ.__getitem__

    def getitem(self: Any, key: Any) -> Any:
        if key == _TEXT:
            _note(task, _reader(sys._getframe(1)), f"reads {_TEXT}", surely=False)
        return original(self, key)

    patches.set(environ, "__getitem__", getitem)


def _reader(frame: FrameType | None) -> FrameType | None:
    """Who asks for that variable, and not for all of them, to pass them on."""
    if frame is not None and frame.f_code.co_name == "get" and frame.f_code.co_filename in _STANDARD:
        frame = frame.f_back
        is_getenv = frame is not None and (frame.f_code.co_name, frame.f_code.co_filename) in _GETENV
        return frame.f_back if is_getenv and frame is not None else frame
    if frame is None or frame.f_code.co_filename in _STANDARD:
        return None
    return frame if dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("BINARY_SUBSCR") else None


def _told(task: Task, original: Callable[..., Any], what: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        _note(task, sys._getframe(1), what)
        return original(*args, **kwargs)

    call.__doc__ = original.__doc__
    return call


def _note(task: Task, frame: FrameType | None, what: str, *, surely: bool = True) -> None:
    if frame is None or task.role not in ("chief", "worker"):
        return
    file = frame.f_code.co_filename
    if is_program(file) and task.channel.open():
        task.channel.send(Divides(where=f"{Path(file).name}:{frame.f_lineno}", what=what, surely=surely))


def is_program(file: str) -> bool:
    """Whether code of that file is neither TensorFlow's nor ours."""
    parts = Path(file).parts
    installed = "site-packages" in parts and any(name in parts for name in _LIBRARIES)
    return not installed and not file.startswith(f"{_OURS}/")
