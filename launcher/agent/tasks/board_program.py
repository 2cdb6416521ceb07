"""Runs TensorBoard on loopback, and writes for it what the run tells about each task.

``python board_program.py {"logdir": …, "events": …, "model_dir": …}``: shows ``logdir``, in which ``model`` leads to
the model_dir. ``events`` is the run's events.jsonl, empty on a host that has it not; each task's throughput, waiting
for input, CPU and memory are written from there and from the samples beside it. When TensorBoard answers, its address
goes as one line to the descriptor that ``TFLAUNCH_BOARD_FD`` names. TensorBoard takes any free port by binding it, so
that nobody else can.

Runs in an interpreter that has TensorBoard. Nothing else of ours is imported, but for the form of the samples, by its
path: it may be another interpreter than ours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

_POLL_S = 0.5
_LEAST_S = 0.5
_MODEL = "model"


def main() -> None:
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        del sys.path[0]  # this file's folder, whose modules have everyday names
    options = json.loads(sys.argv[1])
    logdir = Path(options["logdir"])
    logdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options["model_dir"]:
        point_to(logdir, options["model_dir"])
    url = _serve(logdir, remote="://" in options["model_dir"])
    with open(int(os.environ["TFLAUNCH_BOARD_FD"]), "w") as line:
        line.write(f"{url}\n")
    if options["events"]:
        Writers(logdir).follow(Path(options["events"]))
    while True:
        time.sleep(3600)


def _serve(logdir: Path, *, remote: bool) -> str:
    """Starts TensorBoard's server in a thread; gives its address."""
    if not remote:
        # With it TensorBoard reads files by itself instead of importing TensorFlow for that (tensorboard/compat).
        sys.modules["tensorboard.compat.notf"] = ModuleType("tensorboard.compat.notf")
    _supply_pkg_resources()
    try:
        from tensorboard import program
    except ImportError as error:
        sys.exit(f"TensorBoard is not installed in {sys.executable} ({error}): python -m pip install tensorboard")
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    server: Any = program.TensorBoard()
    options = ("--host", "127.0.0.1", "--port", "0", "--load_fast", "false", "--reload_interval", "5")
    server.configure(argv=["tensorboard", "--logdir", str(logdir), *options])
    return str(server.launch())


def _supply_pkg_resources() -> None:
    """What older releases of TensorBoard take from setuptools, which has it no longer."""
    if importlib.util.find_spec("pkg_resources") is not None:
        return
    stand_in: Any = ModuleType("pkg_resources")

    def iter_entry_points(group: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(resolve=found.load) for found in importlib.metadata.entry_points(group=group)]

    def parse_version(text: str) -> Any:
        return importlib.import_module("packaging.version").parse(text)

    stand_in.iter_entry_points, stand_in.parse_version = iter_entry_points, parse_version
    sys.modules["pkg_resources"] = stand_in


def point_to(logdir: Path, model_dir: str) -> None:
    """Makes ``logdir/model`` lead to the model_dir, wherever it led before."""
    link = logdir / _MODEL
    if link.is_symlink():
        link.unlink()
    if not link.exists() and "://" not in model_dir:
        link.symlink_to(model_dir, target_is_directory=True)


class Writers:
    """One file of TensorBoard's events for each task, made from the events of the run."""

    def __init__(self, logdir: Path) -> None:
        self._logdir = logdir
        self._writers: dict[str, Any] = {}
        self._last: dict[str, tuple[float, int, int, int | None]] = {}
        self._steps: dict[str, int] = {}
        self._newest = 0

    def follow(self, path: Path) -> None:
        """Writes what is there and what is added, for ever."""
        samples, places = _series(), [0]
        for events in _appended(path):
            for event in events:
                self.take(event)
            for sample in _sampled(path.with_name("samples") / "tasks.1s", samples, places):
                self.sample(sample)
            for writer in self._writers.values():
                writer.flush()
            time.sleep(_POLL_S)

    def take(self, event: dict[str, Any]) -> None:
        """One event of the run."""
        kind = event.get("kind")
        if kind == "model_dir_known":
            point_to(self._logdir, event["path"])
        elif kind == "progressed":
            self._progress(event, _seconds(event["at"]))
        elif kind == "usage_sampled":
            for name, values in (("cpu (cores)", event["cpu"]), ("memory (MiB)", event["rss_mib"])):
                for task, value in values.items():
                    self._scalar(
                        task, f"task/{name}", value, self._steps.get(task, self._newest), _seconds(event["at"])
                    )

    def sample(self, sample: dict[str, Any]) -> None:
        """One sample of a task (``launcher.wire.forms.series``)."""
        task, at = sample["task"], sample["at"]
        if sample["global_step"] is not None:
            self._progress({**sample, "input_wait": sample["waiting"]}, at)
        for name, key in (("cpu (cores)", "cpu"), ("memory (MiB)", "rss_mib")):
            if sample[key] is not None:
                self._scalar(task, f"task/{name}", sample[key], self._steps.get(task, self._newest), at)

    def _progress(self, event: dict[str, Any], at: float) -> None:
        task, step = event["task"], event["global_step"]
        now = (at, event["attempt"], event["local_steps"], event.get("examples"))
        before = self._last.get(task)
        self._steps[task] = step
        self._newest = max(self._newest, step)
        if event.get("input_wait") is not None:
            self._scalar(task, "task/input wait (share of a step)", event["input_wait"], step, at)
        seconds = at - before[0] if before is not None else 0.0
        if before is not None and before[1] == now[1] and seconds < _LEAST_S:
            return  # the last word of a task comes right after the one before: no rate to speak of
        self._last[task] = now
        if before is None or before[1] != now[1]:
            return
        self._scalar(task, "task/steps per second", (now[2] - before[2]) / seconds, step, at)
        if now[3] is not None and before[3] is not None:
            self._scalar(task, "task/examples per second", (now[3] - before[3]) / seconds, step, at)

    def _scalar(self, task: str, tag: str, value: float, step: int, at: float) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if task not in self._writers:
            self._writers[task] = EventFileWriter(str(self._logdir / task.replace(":", "-")))
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
        self._writers[task].add_event(event_pb2.Event(wall_time=at, step=step, summary=summary))


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def _series() -> ModuleType:
    path = Path(__file__).parents[2] / "wire" / "forms" / "series.py"
    spec = importlib.util.spec_from_file_location("tflaunch_series", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sampled(path: Path, series: Any, places: list[int]) -> Iterator[dict[str, Any]]:
    """The samples that were added since the row that ``places`` holds."""
    if path.exists():
        with path.open("rb") as stream:
            rows, places[0] = series.TASK_FORM.read(stream, places[0])
        for row in rows:
            sample = dict(zip(series.TASK_FORM.names, row, strict=True))
            if name := series.task_name(sample["role"], sample["index"]):
                yield {**sample, "task": name}


def _appended(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The events that have been added since the last time, again and again."""
    offset, rest = 0, b""
    while True:
        data = b""
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(offset)
                data = stream.read()
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield [json.loads(line) for line in lines if line]


if __name__ == "__main__":
    main()
