"""Rates and histories of a run, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

_QUIET_S = 3.0
_NEWEST = 4  # samples whose distance tells how often one is to be expected


class Rate:
    """How fast a count grows, smoothed over about ``window_s``; at least over its two newest samples."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """``at`` in seconds. A count that goes down (a new attempt, a roll-back) or a clock that is set back starts
        anew; samples that come a little out of order count as simultaneous."""
        samples = self._samples
        if samples and (value < samples[-1][1] or at < samples[-1][0] - self._window_s):
            samples.clear()
        if len(samples) > 1 and at - samples[-1][0] > max(self._window_s, 10 * self._usual_s()):
            samples.clear()  # the clock was set forward, or everything stood still: neither is a rate
        if samples:
            at = max(at, samples[-1][0])
        if len(samples) > 1 and at - samples[-2][0] < self._window_s / 40:
            samples.pop()
        samples.append((at, value))
        while len(samples) > 2 and at - samples[1][0] >= self._window_s:
            samples.popleft()

    def clear(self) -> None:
        self._samples.clear()

    def ends(self) -> list[tuple[float, float]]:
        """The first sample and the newest, of which ``add`` makes as good as the same rate again."""
        samples = list(self._samples)
        return samples if len(samples) <= _NEWEST else [samples[0], *samples[-_NEWEST:]]

    def _usual_s(self) -> float:
        """How far apart the newest samples are, at most."""
        newest = list(self._samples)[-_NEWEST:]
        return max((later - at for (at, _), (later, _) in pairwise(newest)), default=0.0)

    def per_s(self, now: float) -> float | None:
        """None before there are two samples; 0.0 once none has come for much longer than is usual."""
        if len(self._samples) < 2:
            return None
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        span_s = last_at - first_at
        if now - last_at > max(_QUIET_S, 3 * self._usual_s()):
            return 0.0
        return (last - first) / span_s if span_s > 0 else None


class Series:
    """Values by global step. Beyond ``limit`` points neighbours are averaged, so the whole history stays."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._stride = 1
        self._points: list[tuple[float, float]] = []
        self._pending: list[tuple[float, float]] = []
        self.last: float | None = None

    def add(self, step: float, value: float) -> None:
        self.last = value
        self._pending.append((step, value))
        if len(self._pending) >= self._stride:
            self._points.append(_mean(self._pending))
            self._pending.clear()
        if len(self._points) > self._limit:
            self._points = [_mean(self._points[i : i + 2]) for i in range(0, len(self._points), 2)]
            self._stride *= 2

    def dump(self) -> dict[str, Any]:
        """Plain values, for ``load``."""
        return {"stride": self._stride, "points": self._points, "pending": self._pending, "last": self.last}

    def load(self, body: Mapping[str, Any]) -> None:
        """Becomes what was dumped."""
        self._stride, self.last = int(body["stride"]), body["last"]
        self._points = [(float(step), float(value)) for step, value in body["points"]]
        self._pending = [(float(step), float(value)) for step, value in body["pending"]]

    def values(self, columns: int) -> list[float]:
        """At most ``columns`` means of neighbours, from the first value to the last."""
        points = list(self._all())
        if not points or columns <= 0:
            return []
        if len(points) <= columns:
            return [value for _, value in points]
        edges = [round(i * len(points) / columns) for i in range(columns + 1)]
        return [_mean(points[a:b])[1] for a, b in pairwise(edges)]

    def _all(self) -> Iterator[tuple[float, float]]:
        yield from self._points
        if self._pending:
            yield _mean(self._pending)


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    return points[-1][0], sum(value for _, value in points) / len(points)
