"""Whether variables of two checkpoints have the same values: a piece at a time, however large they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from launcher.estimator.inspection import checkpoints
from launcher.estimator.inspection.bundle import Bundle
from launcher.estimator.inspection.checkpoints import READ_ERRORS
from launcher.estimator.inspection.compare import Difference, common
from launcher.estimator.inspection.values import Model

_UNREADABLE = (*READ_ERRORS, OSError, IndexError)

Arrays = tuple[Any, Any]


def value_differences(
    first: Model, second: Model, told: Callable[[int], None] = lambda size: None
) -> tuple[Difference, ...]:
    """The variables of both whose values differ. Those that cannot be read are left out: what is wrong with them is
    among the problems. ``told``: hears how many bytes of the first have been compared since."""
    if not first.variables_from or not second.variables_from:
        return ()
    both = _Both(Path(first.variables_from), Path(second.variables_from))
    found = []
    for name in common(first, second):
        try:
            text = _difference(both.pieces(name), told)
        except _UNREADABLE:
            continue
        if text:
            found.append(Difference(what="variable", name=name, change="values", after=text))
    return tuple(found)


class _Both:
    """Two checkpoints, to be read side by side."""

    def __init__(self, *prefixes: Path) -> None:
        self._readers = [checkpoints.open_reader(prefix) for prefix in prefixes]
        try:
            self._bundles = [Bundle(prefix) for prefix in prefixes]
        except (OSError, ValueError, IndexError):
            self._bundles = []

    def pieces(self, name: str) -> Iterator[Arrays]:
        """The values of one variable in both, in pieces; as a whole what is no plain numbers, or is cut into slices in
        two ways."""
        try:
            places = [bundle.places(name) for bundle in self._bundles]
        except (ValueError, KeyError):
            places = []
        if not places or places[0].keys() != places[1].keys():
            first, second = (reader.get_tensor(name) for reader in self._readers)
            yield first, second
            return
        for key, place in places[0].items():
            yield from zip(place.pieces(), places[1][key].pieces(), strict=True)


def _difference(pieces: Iterator[Arrays], told: Callable[[int], None]) -> str:
    differing = values = 0
    largest = 0.0
    for first, second in pieces:
        if text := _of_another_kind(first, second):
            if text != "the same":
                return text
            continue
        unlike = _unlike(first, second)
        differing, values = differing + int(np.count_nonzero(unlike)), values + unlike.size
        if unlike.any():
            wide = np.complex128 if first.dtype.kind == "c" else np.float64
            apart = np.abs(first[unlike].astype(wide) - second[unlike].astype(wide))
            largest = float(np.maximum(largest, apart.max()))
        told(first.nbytes)
    return f"{differing:,} of {values:,} values, by {largest:.6g} at most" if differing else ""


def difference(first: Any, second: Any) -> str:
    """In which way two arrays differ, empty if they do not; NaN is the same as NaN."""
    return _difference(iter([(np.asarray(first), np.asarray(second))]), lambda size: None)


def _of_another_kind(first: Any, second: Any) -> str:
    """What is to be said of arrays that are not compared number by number; empty for those that are."""
    if first.shape != second.shape:
        return f"shape {list(first.shape)} became {list(second.shape)}"
    if all(np.issubdtype(array.dtype, np.number) or array.dtype.kind in "bV" for array in (first, second)):
        return ""
    return "the same" if np.array_equal(first, second) else "other values"


def _unlike(first: Any, second: Any) -> Any:
    """Which numbers differ: as they are, since large whole numbers are no float64."""
    return (first != second) & ~((first != first) & (second != second))
