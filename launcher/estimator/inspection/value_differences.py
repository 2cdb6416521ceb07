"""Whether variables of two checkpoints have the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from launcher.estimator.inspection import checkpoints
from launcher.estimator.inspection.checkpoints import READ_ERRORS
from launcher.estimator.inspection.compare import Difference, common
from launcher.estimator.inspection.values import Model


def value_differences(first: Model, second: Model) -> tuple[Difference, ...]:
    """The variables of both whose values differ, one at a time in memory. Those that cannot be read are left out: what
    is wrong with them is among the problems."""
    if not first.variables_from or not second.variables_from:
        return ()
    a, b = (checkpoints.open_reader(Path(model.variables_from)) for model in (first, second))
    found = []
    for name in common(first, second):
        try:
            text = difference(a.get_tensor(name), b.get_tensor(name))
        except READ_ERRORS:
            continue
        if text:
            found.append(Difference(what="variable", name=name, change="values", after=text))
    return tuple(found)


def difference(first: Any, second: Any) -> str:
    """In which way two arrays differ, empty if they do not; NaN is the same as NaN."""
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        return f"shape {list(first.shape)} became {list(second.shape)}"
    if first.dtype.kind not in "iufb" or second.dtype.kind not in "iufb":
        return "" if np.array_equal(first, second) else "other values"
    first, second = first.astype(np.float64), second.astype(np.float64)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    if same.all():
        return ""
    largest = np.abs(first - second)[~same].max()
    return f"{int((~same).sum()):,} of {same.size:,} values, by {largest:.6g} at most"
