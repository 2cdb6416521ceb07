"""Where the time of the traced steps went, for each task, and how the load is spread over parameter servers.

Each moment of a traced step is one thing: *compute* while an operation of the task itself runs; else *input* while it
waits for its next batch; else *parameter servers* between its first and its last operation anywhere, since a trainer
that has nothing to run there waits for what they do, send or queue; else *other*: Python, hooks, and the tracing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from launcher.timeline.samples import Sample, task_of_device

COMPUTE, INPUT, SERVERS, OTHER = "compute", "input", "parameter servers", "other"
_INPUT = re.compile(r"Iterator|.*Dequeue|Reader|ReadFile|WholeFileReader|Unstage|OneShot|PyFunc|EagerPyFunc")
_TRANSFER = re.compile(r"_?(Host)?(Recv|Send)(Tensor)?$|RecvTensor|MEMCPY")
_PASSIVE = re.compile(r"NoOp$|_SOURCE$|_SINK$")
MOST_OPS = 8
_NOTABLE = 0.1
_UNEVEN, _WORTH_BYTES = 1.25, 16 * 2**20  # of an equal share; below, it does not matter where variables are

Interval = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class OpTime:
    """One type of operation: milliseconds and executions per traced step."""

    type: str
    ms: float
    count: float


@dataclass(frozen=True, kw_only=True)
class TaskVerdict:
    """The mean traced step of one task, in milliseconds; ``ms`` by what the time went for; ``untraced_ms``: steps
    that were not traced, None if that is not known; ``hooks``: milliseconds of such a step that Python's hooks took,
    by class, most first. ``words``: what follows."""

    task: str
    samples: int
    untraced_ms: float | None
    step_ms: float
    ms: dict[str, float]
    ops: tuple[OpTime, ...]
    words: str
    hooks: tuple[tuple[str, float], ...] = ()

    @property
    def hooks_ms(self) -> float:
        return sum(ms for _, ms in self.hooks)


@dataclass(frozen=True, kw_only=True)
class ServerLoad:
    """What one parameter server does for a traced step of one trainer, on average. ``share``: of the operations' time
    of all parameter servers. ``sends`` and ``takes``: tensors that go to trainers and come from them, with their bytes;
    None if no sample says. ``held``: bytes of its variables."""

    task: str
    busy_ms: float
    ops: float
    share: float
    sends: float | None = None
    takes: float | None = None
    bytes_out: float | None = None
    bytes_in: float | None = None
    held: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    tasks: tuple[TaskVerdict, ...]
    servers: tuple[ServerLoad, ...]


def judge(samples: Sequence[Sample]) -> Verdict:
    """The verdict on all samples of a run."""
    by_task: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_task[sample.task].append(sample)
    return Verdict(
        tasks=tuple(_task(task, by_task[task]) for task in sorted(by_task)),
        servers=_servers([sample for sample in samples if not sample.task.startswith("ps:")]),
    )


def _task(task: str, samples: Sequence[Sample]) -> TaskVerdict:
    spent: Counter[str] = Counter()
    op_us: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for sample in samples:
        spent.update(split(sample))
        for op in sample.own():
            op_us[op.type] += op.dur_us
            counts[op.type] += 1
    number = len(samples)
    ms = {kind: spent[kind] / number / 1000 for kind in (COMPUTE, INPUT, SERVERS, OTHER)}
    ops = [
        OpTime(type=kind, ms=us / number / 1000, count=counts[kind] / number)
        for kind, us in op_us.most_common(MOST_OPS)
    ]
    step_ms = sum(ms.values())
    untraced = [sample.untraced_us for sample in samples if sample.untraced_us is not None]
    untraced_ms = sum(untraced) / len(untraced) / 1000 if untraced else None
    hooks = _hooks([sample.hooks_us for sample in samples if sample.hooks_us])
    return TaskVerdict(
        task=task,
        samples=number,
        untraced_ms=untraced_ms,
        step_ms=step_ms,
        ms=ms,
        ops=tuple(ops),
        words=_words(ms, step_ms, tuple(ops)) + _of_hooks(hooks, untraced_ms),
        hooks=hooks,
    )


def _hooks(found: Sequence[Mapping[str, float]]) -> tuple[tuple[str, float], ...]:
    total: Counter[str] = Counter()
    for each in found:
        total.update(each)
    return tuple((name, us / len(found) / 1000) for name, us in total.most_common())


def _of_hooks(hooks: Sequence[tuple[str, float]], untraced_ms: float | None) -> str:
    """What steps that are not traced spend in hooks: no operation shows it."""
    spent_ms = sum(ms for _, ms in hooks)
    if not untraced_ms or spent_ms < _NOTABLE * untraced_ms:
        return ""
    return f"; hooks take {spent_ms / untraced_ms:.0%} of its steps, most of it {hooks[0][0]}"


def _words(ms: dict[str, float], step_ms: float, ops: Sequence[OpTime]) -> str:
    largest = max(ms, key=lambda kind: ms[kind])
    share = ms[largest] / step_ms if step_ms else 0.0
    if share < 0.4:
        return "no single thing dominates"
    advice = {
        COMPUTE: f"bound by compute, most of it {next((op.type for op in ops if not _waits(op.type)), 'nothing')}",
        INPUT: "waits for input: more prefetch, larger records, or readers in other processes",
        SERVERS: "waits for parameter servers: fewer and larger variables, more servers, or larger batches",
        OTHER: "neither computes nor waits: Python, hooks, scheduling; larger batches do more per step",
    }
    return f"{advice[largest]} ({share:.0%})"


def _waits(kind: str) -> bool:
    return bool(_INPUT.match(kind)) or is_transfer(kind)


def is_transfer(kind: str) -> bool:
    """Whether operations of that type only send or receive."""
    return bool(_TRANSFER.match(kind))


def is_passive(kind: str) -> bool:
    """Whether operations of that type do nothing themselves."""
    return bool(_PASSIVE.match(kind))


def split(sample: Sample) -> dict[str, int]:
    """Microseconds of the sample by what they went for; they add up to the length of the step."""
    compute: list[Interval] = []
    waits: list[Interval] = []
    anywhere: list[Interval] = []
    for device, ops in sample.devices.items():
        own = sample.owner(device) == sample.task
        for op in ops:
            interval = (max(op.start_us, sample.began_us), min(op.end_us, sample.ended_us))
            if interval[0] > interval[1]:
                continue
            anywhere.append(interval)
            if own and not _TRANSFER.match(op.type) and not _PASSIVE.match(op.type):
                (waits if _INPUT.match(op.type) else compute).append(interval)
    total = max(0, sample.ended_us - sample.began_us)
    spent = {COMPUTE: length(compute)}
    spent[INPUT] = length(compute + waits) - spent[COMPUTE]
    remote = any(sample.owner(device) != sample.task for device in sample.devices)
    span = (min(start for start, _ in anywhere), max(end for _, end in anywhere)) if anywhere and remote else (0, 0)
    spent[SERVERS] = length([*compute, *waits, span]) - spent[COMPUTE] - spent[INPUT] if remote else 0
    spent[OTHER] = max(0, total - sum(spent.values()))
    return spent


def length(intervals: Iterable[Interval]) -> int:
    """How long at least one of them lasts."""
    covered, reached = 0, -1
    for start, end in sorted(intervals):
        if end > reached:
            covered += end - max(start, reached)
            reached = end
    return covered


# --- parameter servers -------------------------------------------------------------------------------------------


def _servers(samples: Sequence[Sample]) -> tuple[ServerLoad, ...]:
    busy_us: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for sample in samples:
        worked: dict[str, list[Interval]] = defaultdict(list)
        for device, ops in sample.devices.items():
            owner = sample.owner(device)
            if owner.startswith("ps:"):
                worked[owner] += [(op.start_us, op.end_us) for op in ops if not _TRANSFER.match(op.type)]
        for owner, intervals in worked.items():
            counts[owner] += len(intervals)
            busy_us[owner] += length(intervals)
    held = next((sample.held for sample in reversed(samples) if sample.held), {})
    number, total = max(1, len(samples)), sum(busy_us.values())
    return tuple(
        ServerLoad(
            task=task,
            busy_ms=busy_us[task] / number / 1000,
            ops=counts[task] / number,
            share=busy_us[task] / total if total else 0.0,
            held=held.get(task, 0) if held else None,
            **_traffic(task, [sample for sample in samples if sample.transfers]),
        )
        for task in sorted({*counts, *held}, key=lambda name: (len(name), name))
    )


def uneven(servers: Sequence[ServerLoad]) -> str:
    """What follows where one parameter server holds much more than its share, or has much more of the work; else
    nothing."""
    held = {item.task: item.held or 0 for item in servers}
    whole = sum(held.values())
    most = max(held, key=lambda task: held[task], default="")
    if whole >= _WORTH_BYTES and held[most] > _UNEVEN * whole / len(held):
        return (
            f"{most} holds {held[most] / whole:.0%} of {whole / 2**20:,.0f} MiB of variables: spread them by bytes"
            " (--tune balanced-placement), and split what is larger than a share (launcher.estimator.partitioner)"
        )
    busiest = max(servers, key=lambda item: item.share, default=None)
    if busiest is not None and len(servers) > 1 and busiest.share > _UNEVEN / len(servers):
        return f"{busiest.task} does {busiest.share:.0%} of the work of {len(servers)} parameter servers"
    return ""


def _traffic(task: str, samples: Sequence[Sample]) -> dict[str, float]:
    """What one step moves to and from a parameter server, on average; nothing if no sample knows."""
    if not samples:
        return {}
    ways = [
        (task_of_device(source), task_of_device(target), size)
        for item in samples
        for source, target, size in item.transfers
    ]
    out = [size for source, target, size in ways if source == task != target]
    into = [size for source, target, size in ways if target == task != source]
    values = {"sends": len(out), "takes": len(into), "bytes_out": sum(out), "bytes_in": sum(into)}
    return {name: value / len(samples) for name, value in values.items()}
