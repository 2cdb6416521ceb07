"""When to stop early: what is decided from the evaluations so far. Pure: no TensorFlow."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class UnknownMetricError(KeyError):
    """A metric that an evaluation does not have. The first line says which, and which ones there are."""

    def __init__(self, name: str, there_are: Iterable[str], *, who: str) -> None:
        self.name = name
        names = sorted(set(there_are))
        near = difflib.get_close_matches(name, names, n=1)
        guess = f"; did you mean {near[0]}?" if near else ";"
        text = f"{who} watches {name!r}, which is no metric of the evaluation{guess} there are {', '.join(names)}"
        super().__init__(text)

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The metrics of a checkpoint."""

    step: int
    metrics: Mapping[str, float]


class Aim(Enum):
    """Which way a metric is better."""

    INCREASE = 1.0
    DECREASE = -1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Stop when ``metric`` has not become better by more than ``min_change`` within ``max_steps``. Evaluations before
    ``min_steps`` count for nothing."""

    metric: str
    aim: Aim
    max_steps: int
    min_steps: int = 0
    min_change: float = 0.0

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.min_steps < 0 or not self.min_change >= 0.0:
            raise ValueError(
                f"early stopping needs max_steps of 1 or more, and no negative min_steps or min_change: {self}"
            )

    def verdict(self, evaluations: Sequence[Evaluation]) -> str | None:
        """Why to stop, None to go on. Raises UnknownMetricError at the first evaluation without the metric."""
        best, best_step = math.nan, 0
        for evaluation in sorted(evaluations, key=lambda evaluation: evaluation.step):
            value = value_of(self.metric, evaluation.metrics, who="early stopping")
            if evaluation.step < self.min_steps:
                continue
            if math.isnan(best) or self.aim.value * (value - best) > self.min_change:
                best, best_step = value, evaluation.step
            elif evaluation.step - best_step >= self.max_steps:
                return (
                    f"no {self.aim.name.lower()} of {self.metric} for {evaluation.step - best_step} steps: "
                    f"{best:.6g} at step {best_step}, {value:.6g} at step {evaluation.step}"
                )
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Stop when ``metric`` is beyond ``threshold``, from ``min_steps`` on."""

    metric: str
    aim: Aim
    threshold: float
    min_steps: int = 0

    def verdict(self, evaluations: Sequence[Evaluation]) -> str | None:
        """As ``Patience.verdict``."""
        for evaluation in sorted(evaluations, key=lambda evaluation: evaluation.step):
            value = value_of(self.metric, evaluation.metrics, who="early stopping")
            if evaluation.step >= self.min_steps and self.aim.value * (value - self.threshold) > 0.0:
                word = "higher" if self.aim is Aim.INCREASE else "lower"
                return f"{self.metric} is {value:.6g} at step {evaluation.step}, {word} than {self.threshold:g}"
        return None


Rule = Patience | Threshold


def value_of(metric: str, metrics: Mapping[str, float], *, who: str) -> float:
    """One metric of an evaluation. Raises UnknownMetricError."""
    if metric not in metrics:
        raise UnknownMetricError(metric, metrics, who=who)
    return float(metrics[metric])
