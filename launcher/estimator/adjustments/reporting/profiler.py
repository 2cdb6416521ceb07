"""profile: the trace of one step in every so many, of each trainer and of the evaluator.

The stock ProfilerHook (``tensorflow/python/training/basic_session_run_hooks.py``) cannot be built with eager mode on,
and all tasks that share a folder overwrite each other's ``timeline-N.json``. This one sends what it has seen over the
task's socket; the launcher keeps it, one file for each sample of each task.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting.hook_times import HookTimes
from launcher.estimator.adjustments.sessions.trainer import MONITORED_SESSION, Hook
from launcher.estimator.adjustments.start import placement
from launcher.estimator.task import Task
from launcher.wire.protocol import PROFILE_VARIABLE, Profiled

EVALUATOR = "evaluator"
DEFAULT_STEPS = 100
_MOST_BYTES = 8 * 1024 * 1024  # of one message; beyond, a sample is left out
_LABEL = re.compile(r"^.*? = ([^(\s]+)\(")


def take_profiles(patches: Patches, task: Task) -> None:
    """Watch every session of this process that trains, and those in which an evaluator evaluates."""
    every_steps = _every_steps()

    def init(
        original: Callable[..., Any], monitored: Any, session_creator: Any, hooks: Any, *args: Any, **kwargs: Any
    ) -> None:
        if task.training is not None or task.role == EVALUATOR:
            times = HookTimes(hooks or ())
            hooks = [*(hooks or ()), Profiler(task, every_steps, times)]
        original(monitored, session_creator, hooks, *args, **kwargs)

    patches.wrap(importlib.import_module(MONITORED_SESSION)._MonitoredSession, "__init__", init)


def _every_steps() -> int:
    text = os.environ.get(PROFILE_VARIABLE, "")
    return int(text) if text.isdigit() and int(text) > 0 else DEFAULT_STEPS


class Profiler(Hook):
    """Traces each ``every_steps``-th step of this process, counted over recoveries."""

    def __init__(self, task: Task, every_steps: int, times: HookTimes) -> None:
        self._task = task
        self._times = times
        self._every_steps = every_steps
        self._steps = 0
        self._began_us = 0
        self._ended_us = 0
        self._since = 0
        self._wanted: Any = None
        self._wanted_first: Any = None
        self._transfers: list[list[Any]] = []
        self._held: dict[str, int] = {}

    def begin(self) -> None:
        module: Any = importlib.import_module("tensorflow.python.training.session_run_hook")
        training_util: Any = importlib.import_module("tensorflow.python.training.training_util")
        config: Any = importlib.import_module("tensorflow.core.protobuf.config_pb2")
        has_step = training_util.get_global_step() is not None
        fetches = {"step": training_util._get_or_create_global_step_read()} if has_step else {}
        options = config.RunOptions(trace_level=config.RunOptions.FULL_TRACE)
        self._wanted = module.SessionRunArgs(fetches, options=options)
        # What crosses between tasks is the same in every step; the graphs that say so are large.
        options = config.RunOptions(trace_level=config.RunOptions.FULL_TRACE, output_partition_graphs=True)
        self._wanted_first = module.SessionRunArgs(fetches, options=options)

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._held = dict(placement.bytes_held(session.graph))

    def before_run(self, run_context: Any) -> Any:
        if (self._steps + 1) % self._every_steps:
            return None
        self._began_us = time.time_ns() // 1000
        return self._wanted if self._steps >= self._every_steps else self._wanted_first

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._steps += 1
        self._since += 1
        if not self._began_us:
            if not self._ended_us:
                self._ended_us, self._since = time.time_ns() // 1000, 0
            return
        ended_us = time.time_ns() // 1000
        began_us, self._began_us = self._began_us, 0
        step = int((run_values.results or {}).get("step", 0))
        untraced_us = (began_us - self._ended_us) / (self._since - 1) if self._since > 1 else None
        self._ended_us, self._since = ended_us, 0
        metadata = run_values.run_metadata
        self._transfers = transfers(metadata) or self._transfers  # in every sample: the first is not kept
        sample = {
            "steps": self._steps,
            "began_us": began_us,
            "ended_us": ended_us,
            "untraced_us": untraced_us,
            "devices": devices(metadata.step_stats),
            "transfers": self._transfers,
            "hooks_us": self._times.take(),
            "held": self._held,
        }
        data = base64.b64encode(zlib.compress(json.dumps(sample, separators=(",", ":")).encode(), 6)).decode()
        if len(data) <= _MOST_BYTES and self._task.channel.open():
            self._task.channel.send(Profiled(global_step=step, sent_at=time.time(), data=data))


def devices(step_stats: Any) -> dict[str, list[list[Any]]]:
    """``StepStats`` by device: for each operation its name, type, start (microseconds since the epoch), duration, and
    what is said about it."""
    return {
        device.device: [
            [
                node.node_name,
                _type(node),
                node.all_start_micros,
                max(0, node.all_end_rel_micros),
                "" if _LABEL.match(node.timeline_label) else node.timeline_label[:200],
            ]
            for node in device.node_stats
        ]
        for device in step_stats.dev_stats
    }


def transfers(metadata: Any) -> list[list[Any]]:
    """What one step sends from device to device, where the graphs of its parts are there: source, target, bytes."""
    sizes = {
        (device.device, node.node_name, output.slot): output.tensor_description.allocation_description.requested_bytes
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
        for output in node.output
    }
    sends = [node for graph in metadata.partition_graphs for node in graph.node if node.op == "_Send"]
    found = []
    for node in sends:
        source, target = (node.attr[name].s.decode() for name in ("send_device", "recv_device"))
        name, _, slot = node.input[0].partition(":")
        found.append([source, target, sizes.get((source, name.lstrip("^"), int(slot or 0)), 0)])
    return found


def _type(node: Any) -> str:
    """The operation's type: TensorFlow writes labels as ``name = Type(inputs)``, and names transfers by themselves."""
    match = _LABEL.match(node.timeline_label)
    return match[1] if match else node.node_name.rpartition("/")[2].partition(":")[0]
