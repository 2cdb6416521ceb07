"""Writes what is sampled of a run: from reports, several a second, to rows of bounded rings.

A task gets a row a second; with many tasks fewer, so that all of them together cost the same. Every tenth second, and
every fifth minute, one goes into the coarser rings, too: with the mean of loss, waiting and CPU since the last one
there, and the largest memory. When the coarsest ring is full, every second row of each task is dropped, and half as
many are written from then on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.record.events import InputCounted, Progressed, UsageSampled
from launcher.record.sampling.ring import Ring
from launcher.record.sampling.samples import INPUT, INTERVALS_S, TASKS, AnySample, InputSample, Kind, Sample
from launcher.wire.protocol import changed
from launcher.wire.roles import TaskId

SAMPLED = (Progressed, UsageSampled, InputCounted)
_MOST_ROWS_PER_S = 300.0
_STALLED_S = 3.0
_EARLY = 0.9  # of an interval: reports do not come on the dot


class Tiers:
    """The rings of one kind of samples."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder = folder
        self._kind = kind
        self._intervals_s = list(INTERVALS_S)
        self._rings = [Ring(kind.path(folder, tier), kind.form, size) for tier, size in enumerate(kind.capacities)]
        self._means: dict[object, list[_Mean]] = {}

    @property
    def places(self) -> int:
        """The number of the next row of the finest ring."""
        return self._rings[0].next

    def add(self, key: object, sample: AnySample) -> None:
        """Writes it into the finest ring, and into coarser ones when their time has come. Raises OSError."""
        self._rings[0].add(self._kind.values(sample))
        means = self._means.setdefault(key, [_Mean(sample.at), _Mean(sample.at)])
        for tier, mean in enumerate(means, start=1):
            mean.take(sample)
            if 0 <= sample.at - mean.since < self._intervals_s[tier] * _EARLY:
                return
            sample, means[tier - 1] = mean.of(sample), _Mean(sample.at)
            if tier == len(means) and self._rings[tier].full:
                self._thin(tier)
            self._rings[tier].add(self._kind.values(sample))

    def _thin(self, tier: int) -> None:
        counts: dict[object, int] = {}
        kept = []
        for sample in self._kind.read(self._folder, tier)[0]:
            key = sample.task if isinstance(sample, Sample) else None
            counts[key] = counts.get(key, 0) + 1
            if counts[key] % 2:
                kept.append(self._kind.values(sample))
        self._intervals_s[tier] *= 2
        self._rings[tier].replace(kept[-self._kind.capacities[tier] // 2 :])

    def close(self) -> None:
        for ring in self._rings:
            ring.close()


class _Mean:
    """What has come since the last row of a coarser ring."""

    __slots__ = ("_rss_mib", "_sums", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self._sums: dict[str, tuple[float, int]] = {}
        self._rss_mib: float | None = None

    def take(self, sample: AnySample) -> None:
        if not isinstance(sample, Sample):
            return
        for name in ("loss", "waiting", "cpu"):
            value = getattr(sample, name)
            if value is not None and math.isfinite(value):
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, count + 1
        if sample.rss_mib is not None:
            self._rss_mib = max(self._rss_mib or 0.0, sample.rss_mib)

    def of(self, newest: AnySample) -> AnySample:
        """The newest one, with means in place of its own values."""
        if not isinstance(newest, Sample):
            return newest
        means: dict[str, Any] = {name: total / count for name, (total, count) in self._sums.items()}
        return replace(newest, **means, rss_mib=self._rss_mib)


@dataclass(slots=True)
class _Task:
    """What the present attempt of a task has told."""

    attempt: int
    progress: Progressed | None = None
    waited: float = 0.0
    reports: int = 0
    cpu: float | None = None
    rss_mib: float | None = None
    told_at: float = -math.inf
    written_at: float = -math.inf
    fresh: bool = False

    def sample(self, task: TaskId, at: float) -> Sample:
        said = self.progress
        return Sample(
            at=at,
            task=task,
            attempt=self.attempt,
            global_step=said.global_step if said else None,
            local_steps=said.local_steps if said else None,
            examples=said.examples if said else None,
            loss=said.loss if said else None,
            waiting=said.input_wait if said else None,
            mean_waiting=self.waited / self.reports if self.reports else None,
            reports=self.reports,
            cpu=self.cpu,
            rss_mib=self.rss_mib,
        )


class Sampler:
    """Of one run. ``lost``: rows that could not be written, ``trouble`` why."""

    def __init__(self, folder: Path) -> None:
        self.lost = 0
        self.trouble = ""
        self._tasks: dict[TaskId, _Task] = {}
        self._task_tiers = Tiers(folder, TASKS)
        self._input_tiers = Tiers(folder, INPUT)
        self._input: InputCounted | None = None
        self._input_at = -math.inf

    @property
    def places(self) -> dict[str, int]:
        """The number of the next row of each finest ring."""
        return {TASKS.name: self._task_tiers.places, INPUT.name: self._input_tiers.places}

    def take(self, event: Progressed | UsageSampled | InputCounted, at: float) -> Iterator[AnySample]:
        """Takes what was told, ``at`` seconds since the epoch; gives the samples that were due."""
        if isinstance(event, InputCounted):
            self._input = event
            if not 0 <= at - self._input_at < INTERVALS_S[0] * _EARLY:
                self._input_at = at
                yield self._write(self._input_tiers, None, InputSample(at=at, event=event))
        elif isinstance(event, Progressed):
            task = TaskId.parse(event.task)
            known = self._of(task, event.attempt)
            self._progress(known, event)
            known.told_at = at
            yield from self._if_due(task, at)
        else:
            for name, cpu in event.cpu.items():
                task = TaskId.parse(name)
                known = self._of(task)
                known.cpu, known.rss_mib, known.fresh = cpu, event.rss_mib.get(name), True
                if not 0 <= at - known.told_at < _STALLED_S:  # else rates were of counts older than the row
                    yield from self._if_due(task, at)

    def _progress(self, known: _Task, event: Progressed) -> None:
        if event.input_wait is not None:
            known.waited, known.reports = known.waited + event.input_wait, known.reports + 1
        if known.progress is not None:
            names = [name for name in ("examples", "loss", "input_wait") if getattr(event, name) is None]
            event = changed(event, **{name: getattr(known.progress, name) for name in names})
        known.progress, known.fresh = event, True

    def _of(self, task: TaskId, attempt: int | None = None) -> _Task:
        known = self._tasks.get(task)
        if known is None or (attempt is not None and attempt != known.attempt):
            known = self._tasks[task] = _Task(attempt or 0)
        return known

    def is_first(self, event: Progressed) -> bool:
        """Whether that attempt has not told of any progress yet."""
        known = self._tasks.get(TaskId.parse(event.task))
        return known is None or known.attempt != event.attempt or known.progress is None

    def _if_due(self, task: TaskId, at: float) -> Iterator[AnySample]:
        known = self._tasks[task]
        interval_s = max(INTERVALS_S[0], len(self._tasks) / _MOST_ROWS_PER_S)
        if not 0 <= at - known.written_at < interval_s * _EARLY:
            yield from self._now(task, at)

    def _now(self, task: TaskId, at: float) -> Iterator[AnySample]:
        known = self._tasks[task]
        if known.fresh:
            known.written_at, known.fresh = at, False
            yield self._write(self._task_tiers, task, known.sample(task, at))

    def _write(self, tiers: Tiers, key: object, sample: AnySample) -> AnySample:
        try:
            tiers.add(key, sample)
        except OSError as error:
            self.lost += 1
            self.trouble = error.strerror or str(error)
        return sample

    def begun(self, task: TaskId, attempt: int) -> None:
        """A new attempt: what the former one has told is over."""
        self._of(task, attempt)

    def over(self, task: TaskId, at: float) -> tuple[list[AnySample], Progressed | None]:
        """The present attempt has ended: its last sample, and all that it did, if it said anything."""
        known = self._tasks.get(task)
        if known is None or known.progress is None:
            return [], None
        mean = known.waited / known.reports if known.reports else None
        whole = changed(known.progress, mean_wait=mean, reports=known.reports)
        samples = list(self._now(task, at))
        self._tasks[task] = _Task(known.attempt)
        return samples, whole

    def input_over(self) -> InputCounted | None:
        """How the input stood last."""
        return self._input

    def close(self) -> None:
        self._task_tiers.close()
        self._input_tiers.close()
