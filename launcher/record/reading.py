"""A run as it is read from its folder: its view, and on request what is new since."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from heapq import merge

from launcher.record import snapshot
from launcher.record.event_log import EventReader
from launcher.record.events import Recorded
from launcher.record.runs import RunFolder
from launcher.record.sampling.samples import AnySample, Sample, SampleReader, as_events, history
from launcher.record.view import RunView

News = Recorded | AnySample
_SAMPLES_EVERY_S = 0.25


class RunReader:
    """Folds a run into ``view``, and goes on from where it was. Begins with the snapshot that the run has left, unless
    ``from_start``: then every event passes, and every sample that is still there."""

    def __init__(self, folder: RunFolder, *, from_start: bool = False) -> None:
        known = None if from_start else snapshot.load(folder.snapshot, folder.events)
        self.view = RunView() if known is None else known.view
        self._events = EventReader(folder.events, self.view.n + 1, offset=known.offset if known else 0)
        self._samples = SampleReader(folder.samples, known.places if known else None)
        self._past = history(folder.samples) if known is None else None
        self._sampled_at = -math.inf

    def read(self, *, final: bool = False, often: bool = False) -> Iterator[News]:
        """What was added since, in the order of time; the view has taken each when it is given. ``final``: nobody
        writes any more; ``often``: it is asked many times a second, and samples, of which there is one in a second, are
        not looked for each time."""
        now, samples = time.monotonic(), list[AnySample]()
        if not often or now - self._sampled_at > _SAMPLES_EVERY_S:
            samples, self._sampled_at = self._samples.read(), now
        if self._past is not None:
            samples, self._past = list(self._past), None
        for news in merge(self._events.read(final=final), samples, key=_at):
            if isinstance(news, Recorded):
                self.view.apply(news)
            else:
                self.view.take(news)
            yield news


def as_recorded(sample: AnySample, view: RunView) -> list[Recorded]:
    """The events that the sample stands for, without numbers (0)."""
    task = view.tasks.get(sample.task) if isinstance(sample, Sample) else None
    at = datetime.fromtimestamp(sample.at, timezone.utc)
    return [Recorded(n=0, at=at, event=event) for event in as_events(sample, task.host if task is not None else "")]


def everything(folder: RunFolder) -> Iterator[Recorded]:
    """All events of a run, and those that its samples stand for, in the order of time."""
    reader = RunReader(folder, from_start=True)
    for news in reader.read(final=True):
        yield from [news] if isinstance(news, Recorded) else as_recorded(news, reader.view)


def _at(news: News) -> float:
    return news.at.timestamp() if isinstance(news, Recorded) else news.at


def load_view(folder: RunFolder) -> RunView:
    """The run as its events and samples tell it now."""
    reader = RunReader(folder)
    for _ in reader.read(final=True):
        pass
    return reader.view
