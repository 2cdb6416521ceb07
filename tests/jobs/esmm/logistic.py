"""The best an additive model can do: logistic regression on one-hot features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class LogisticRegression:
    """Fitted by damped diagonal Newton steps on all examples at once, with a little ridge."""

    def __init__(self, ids: Mapping[str, int], *, steps: int = 80, rate: float = 0.25) -> None:
        self._names: Sequence[str] = list(ids)
        self._first = dict(zip(ids, np.cumsum([0, *ids.values()]), strict=False))
        self._steps, self._rate = steps, rate
        self._weights = np.zeros(sum(ids.values()))
        self._bias = 0.0

    def fit(self, columns: Mapping[str, np.ndarray], label: np.ndarray) -> None:
        rows = self._rows(columns)
        self._bias = float(np.log(label.mean() / (1 - label.mean())))
        for _ in range(self._steps):
            p = 1 / (1 + np.exp(-self._logit(rows)))
            gradient = self._sums(rows, label - p) - self._weights
            self._weights += self._rate * gradient / (self._sums(rows, p * (1 - p)) + 1)

    def logit(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._logit(self._rows(columns))

    def _rows(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.stack([columns[name] + self._first[name] for name in self._names])

    def _logit(self, rows: np.ndarray) -> np.ndarray:
        return self._weights[rows].sum(axis=0) + self._bias

    def _sums(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        return sum(np.bincount(row, values, len(self._weights)) for row in rows)
