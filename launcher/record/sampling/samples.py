"""What is sampled of a run: progress and usage of each task, and how its input stands.

One folder of rings (``wire/forms/series.py``), each at most as large as its table here says, however long the run:
every second of the newest minutes, every ten seconds of the newest hours, every five minutes of all. Rows hold counts
as they stood, so that the newest of an attempt tells all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from launcher.record.events import InputCounted, Progressed, RunEvent, UsageSampled
from launcher.wire.forms.series import INPUT_FORM, ROLE_CODES, TASK_FORM, Form
from launcher.wire.roles import Role, TaskId

TIERS = ("1s", "10s", "5min")
INTERVALS_S = (1.0, 10.0, 300.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A task at one moment (seconds since the epoch). Counts are those of its attempt; ``waiting``: the share of its
    time that it waited for input, ``mean_waiting``: over all ``reports`` of the attempt; ``cpu``: 1.0 is one core."""

    at: float
    task: TaskId
    attempt: int
    global_step: int | None = None
    local_steps: int | None = None
    examples: int | None = None
    loss: float | None = None
    waiting: float | None = None
    mean_waiting: float | None = None
    reports: int = 0
    cpu: float | None = None
    rss_mib: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSample:
    """The shared input at one moment."""

    at: float
    event: InputCounted


AnySample = Sample | InputSample


def as_events(sample: AnySample, host: str) -> list[RunEvent]:
    """The events that the sample stands for; its task is on ``host``."""
    if isinstance(sample, InputSample):
        return [sample.event]
    made: list[RunEvent] = []
    if sample.global_step is not None and sample.local_steps is not None:
        made.append(
            Progressed(
                task=sample.task.name,
                attempt=sample.attempt,
                global_step=sample.global_step,
                local_steps=sample.local_steps,
                examples=sample.examples,
                loss=sample.loss,
                input_wait=sample.waiting,
                mean_wait=sample.mean_waiting,
                reports=sample.reports,
            )
        )
    if sample.cpu is not None and sample.rss_mib is not None:
        name = sample.task.name
        made.append(UsageSampled(host=host, cpu={name: sample.cpu}, rss_mib={name: sample.rss_mib}))
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of samples: its files, and the form of their rows. ``capacities``: rows of the ring of each tier."""

    name: str
    form: Form
    capacities: tuple[int, ...]
    values: Callable[[Any], tuple[Any, ...]]
    sample: Callable[[Sequence[Any]], AnySample | None]

    def path(self, folder: Path, tier: int) -> Path:
        return folder / f"{self.name}.{TIERS[tier]}"

    def read(self, folder: Path, tier: int, start: int = 0) -> tuple[list[AnySample], int]:
        """The samples from row ``start`` on that are still there, and the number of the next row."""
        try:
            with self.path(folder, tier).open("rb") as stream:
                rows, after = self.form.read(stream, start)
        except OSError:
            return [], start
        return [made for made in map(self.sample, rows) if made is not None], after


def _task_values(sample: Sample) -> tuple[Any, ...]:
    head = (sample.at, ROLE_CODES[sample.task.role.value], sample.task.index, sample.attempt)
    return (*head, *_COUNTS_OF(sample))


def _task_sample(values: Sequence[Any]) -> Sample | None:
    at, role, index, attempt, *counts = values
    if (key := (role, index)) not in _TASKS:
        if role not in _ROLES:
            return None
        _TASKS[key] = TaskId(_ROLES[role], index)
    return Sample(at=at, task=_TASKS[key], attempt=attempt, **dict(zip(_COUNTS, counts, strict=True)))


_COUNTS = TASK_FORM.names[4:]
_COUNTS_OF = attrgetter(*_COUNTS)
_ROLES = {code: Role(name) for name, code in ROLE_CODES.items()}
_TASKS: dict[tuple[int, int], TaskId] = {}  # there are few tasks and many samples


def _input_values(sample: InputSample) -> tuple[Any, ...]:
    return (sample.at, *(getattr(sample.event, name) for name in INPUT_FORM.names[1:]))


def _input_sample(values: Sequence[Any]) -> InputSample:
    at, *counts = values
    return InputSample(at=at, event=InputCounted(**dict(zip(INPUT_FORM.names[1:], counts, strict=True))))


TASKS = Kind(  # of 100 tasks: 10 minutes, 6 hours, and 3 days before the first thinning; 27 MiB
    name="tasks", form=TASK_FORM, capacities=(60_000, 216_000, 80_000), values=_task_values, sample=_task_sample
)
INPUT = Kind(name="input", form=INPUT_FORM, capacities=(600, 2160, 2048), values=_input_values, sample=_input_sample)
KINDS = (TASKS, INPUT)


class SampleReader:
    """Reads on from where it was, in the finest rings. ``places``: the number of the next row in each, by kind."""

    def __init__(self, folder: Path, places: Mapping[str, int] | None = None) -> None:
        self._folder = folder
        self.places = {kind.name: (places or {}).get(kind.name, 0) for kind in KINDS}

    def read(self) -> list[AnySample]:
        """The samples that were added since, as far as they are still there, in the order of their times."""
        found: list[AnySample] = []
        for kind in KINDS:
            samples, self.places[kind.name] = kind.read(self._folder, 0, self.places[kind.name])
            found += samples
        return sorted(found, key=attrgetter("at"))


def history(folder: Path) -> Iterator[AnySample]:
    """All samples of a run, each moment from the finest ring that still has it, in the order of their times."""
    found: list[AnySample] = []
    for kind in KINDS:
        until = math.inf
        for tier in range(len(TIERS)):
            samples = [sample for sample in kind.read(folder, tier)[0] if sample.at < until]
            until = min((sample.at for sample in samples), default=until)
            found += samples
    return iter(sorted(found, key=attrgetter("at")))
