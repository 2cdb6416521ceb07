"""How often each example was trained, in the lineage of the newest checkpoint: what ``--audit DIR`` wrote, added up.

A checkpoint goes back to a chain of tokens. Of the last one, and of each from which training went on after a restore,
those steps count that were finished before the snapshot was taken that the checkpoint holds: they are surely in it.
Steps that were lost with a roll-back, or under way when a task was killed, do not count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.queue import journal as journals
from launcher.estimator.streaming.queue.journal import SAVED, SUFFIX, Told

Example = tuple[Hashable, ...]
"""(path, row), or (value of the id column,)."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """``trained``: how often each example was; ``by_epoch``: the same within each epoch; ``steps`` that count and
    ``lost_steps`` that do not; ``counts``: what the queue itself says."""

    global_step: int
    trained: Counter[Example]
    by_epoch: dict[int, Counter[Example]]
    steps: int
    lost_steps: int
    counts: dict[str, Any]

    @property
    def rows(self) -> int:
        return self.trained.total()

    @property
    def duplicates(self) -> int:
        """Rows beyond one of each example in each epoch."""
        return sum(counter.total() - len(counter) for counter in self.by_epoch.values())


def read_audit(folder: Path) -> Audit:
    """Adds up what is in the folder. Raises StreamingError if it is no audit."""
    try:
        saved = json.loads((folder / SAVED).read_text("utf-8"))
        lineage = {token: int(snapshots) for token, snapshots in saved["lineage"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamingError(
            f"{folder} is no audit of a training that has saved a checkpoint ({error}); train with --audit DIR"
        ) from None
    trained: Counter[Example] = Counter()
    by_epoch: dict[int, Counter[Example]] = {}
    steps = lost = 0
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        told = journals.read(path)
        count = told.finished_before(lineage[told.token]) if told.token in lineage else 0
        steps, lost = steps + count, lost + len(told.steps) - count
        for epoch, example in _examples(told, count):
            trained[example] += 1
            by_epoch.setdefault(epoch, Counter())[example] += 1
    return Audit(
        global_step=int(saved["global_step"]),
        trained=trained,
        by_epoch=by_epoch,
        steps=steps,
        lost_steps=lost,
        counts=dict(saved["counts"]),
    )


def _examples(told: Told, steps: int) -> Iterable[tuple[int, Example]]:
    for step in told.steps[:steps]:
        for lease, ids in step.get("ids", {}).items():
            line = told.leases[int(lease)]
            for value in ids:
                yield int(line["epoch"]), ((line["shard"][0], value) if step.get("by") == "row" else (value,))


def report_lines(audit: Audit) -> list[str]:
    """What a person wants to know, in a few lines."""
    lines = [
        f"checkpoint of global step {audit.global_step:,}: {audit.rows:,} rows of {len(audit.trained):,} examples, "
        f"in {audit.steps:,} steps ({audit.lost_steps:,} steps are not in it)"
    ]
    for epoch, counter in sorted(audit.by_epoch.items()):
        times = Counter(counter.values())
        often = ", ".join(f"{count:,} examples {_times(n)}" for n, count in sorted(times.items()))
        lines.append(f"epoch {epoch + 1}: {often}")
    lines.append(
        f"duplicates within an epoch: {audit.duplicates:,}; by the queue's own count: {audit.counts['duplicates']:,}"
    )
    return lines


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
