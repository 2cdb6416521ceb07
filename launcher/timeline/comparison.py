"""Two runs side by side: what a step of a trainer costs, by operation and by parameter server.

Only what runs counts: transfers and what only waits for other operations have a duration, but that is somebody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.timeline.samples import Sample
from launcher.timeline.verdict import ServerLoad, TaskVerdict, is_passive, is_transfer, judge

TRAINER = "trainer"
MOST_NAMED = 3
_NO_ROLE = ("ps:", "evaluator:")


@dataclass(frozen=True, kw_only=True)
class OpPair:
    """One type of operation in one place (``trainer``, ``ps:0``): milliseconds and executions per traced step of a
    trainer, in either run."""

    where: str
    type: str
    ms: tuple[float, float]
    count: tuple[float, float]

    @property
    def grew_ms(self) -> float:
        return self.ms[1] - self.ms[0]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``tasks`` and ``servers`` by name, None where a run has none of it; ``ops``: those that differ most first.
    ``words``: which three these are."""

    tasks: tuple[tuple[str, TaskVerdict | None, TaskVerdict | None], ...]
    servers: tuple[tuple[str, ServerLoad | None, ServerLoad | None], ...]
    ops: tuple[OpPair, ...]
    words: str


def compare(first: Sequence[Sample], second: Sequence[Sample]) -> Comparison:
    """What differs between the samples of two runs."""
    verdicts = judge(first), judge(second)
    tasks = [{item.task: item for item in verdict.tasks} for verdict in verdicts]
    servers = [{item.task: item for item in verdict.servers} for verdict in verdicts]
    ops = _ops(first, second)
    return Comparison(
        tasks=tuple((name, tasks[0].get(name), tasks[1].get(name)) for name in sorted({*tasks[0], *tasks[1]})),
        servers=tuple(
            (name, servers[0].get(name), servers[1].get(name))
            for name in sorted({*servers[0], *servers[1]}, key=lambda name: (len(name), name))
        ),
        ops=ops,
        words=_words(ops),
    )


def _words(ops: Sequence[OpPair]) -> str:
    named = [
        f"{item.type} on {'trainers' if item.where == TRAINER else item.where} {item.ms[0]:.2f} -> {item.ms[1]:.2f} ms"
        for item in ops[:MOST_NAMED]
        if item.grew_ms
    ]
    return f"differ most, for one step of a trainer: {'; '.join(named)}" if named else "no operation differs"


def _ops(first: Sequence[Sample], second: Sequence[Sample]) -> tuple[OpPair, ...]:
    spent = [_per_step(samples) for samples in (first, second)]
    pairs = [
        OpPair(
            where=where,
            type=kind,
            ms=(spent[0][0].get((where, kind), 0.0), spent[1][0].get((where, kind), 0.0)),
            count=(spent[0][1].get((where, kind), 0.0), spent[1][1].get((where, kind), 0.0)),
        )
        for where, kind in {**spent[0][0], **spent[1][0]}
    ]
    return tuple(sorted(pairs, key=lambda item: (-abs(item.grew_ms), item.where, item.type)))


Place = tuple[str, str]


def _per_step(samples: Sequence[Sample]) -> tuple[dict[Place, float], dict[Place, float]]:
    """Milliseconds and executions by place and type."""
    trained = [sample for sample in samples if not sample.task.startswith(_NO_ROLE)]
    us: Counter[Place] = Counter()
    count: Counter[Place] = Counter()
    for sample in trained:
        for device, ops in sample.devices.items():
            owner = sample.owner(device)
            where = TRAINER if owner == sample.task else owner
            for op in ops:
                if not is_transfer(op.type) and not is_passive(op.type):
                    us[where, op.type] += op.dur_us
                    count[where, op.type] += 1
    number = max(1, len(trained))
    return {key: us[key] / number / 1000 for key in us}, {key: count[key] / number for key in us}
