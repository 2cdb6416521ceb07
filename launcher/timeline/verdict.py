"""Where the time of the traced steps went, for each task, and how the load is spread over parameter servers.

Each moment of a step is one thing: *compute* while an operation of the task itself runs; else *input* while it waits
for its next batch; else *parameter servers* while a transfer is under way or one of them works for this step; else
*other*: scheduling, Python, hooks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from launcher.timeline.samples import Op, Sample, task_of_device

COMPUTE, INPUT, SERVERS, OTHER = "compute", "input", "parameter servers", "other"
_INPUT = re.compile(r"Iterator|.*Dequeue|Reader|ReadFile|WholeFileReader|Unstage|OneShot|PyFunc|EagerPyFunc")
_TRANSFER = re.compile(r"_?(Host)?(Recv|Send)(Tensor)?$|RecvTensor|MEMCPY")
_PASSIVE = re.compile(r"NoOp$|_SOURCE$|_SINK$")
_LABEL = re.compile(r"\[(\d+)B\].* from (/job:\S+) to (/job:\S+)")
MOST_OPS = 8

Interval = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class OpTime:
    """One type of operation: milliseconds and executions per traced step."""

    type: str
    ms: float
    count: float


@dataclass(frozen=True, kw_only=True)
class TaskVerdict:
    """The mean traced step of one task, in milliseconds; ``ms`` by what the time went for. ``words``: what follows."""

    task: str
    samples: int
    step_ms: float
    ms: dict[str, float]
    ops: tuple[OpTime, ...]
    words: str


@dataclass(frozen=True, kw_only=True)
class ServerLoad:
    """What one parameter server does for a traced step of one trainer, on average. ``share``: of the operations' time
    of all parameter servers; bytes: sent to trainers and taken from them."""

    task: str
    busy_ms: float
    ops: float
    bytes_out: float
    bytes_in: float
    share: float


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
    return TaskVerdict(
        task=task, samples=number, step_ms=step_ms, ms=ms, ops=tuple(ops), words=_words(ms, step_ms, tuple(ops))
    )


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
    return bool(_INPUT.match(kind) or _TRANSFER.match(kind))


def split(sample: Sample) -> dict[str, int]:
    """Microseconds of the sample by what they went for; they add up to the length of the step."""
    compute, waits, transfers = [], [], []
    for device, ops in sample.devices.items():
        own = sample.owner(device) == sample.task
        for op in ops:
            interval = (max(op.start_us, sample.began_us), min(op.end_us, sample.ended_us))
            if interval[0] >= interval[1] or _PASSIVE.match(op.type):
                continue
            if not own or _TRANSFER.match(op.type):
                transfers.append(interval)
            elif _INPUT.match(op.type):
                waits.append(interval)
            else:
                compute.append(interval)
    total = max(0, sample.ended_us - sample.began_us)
    spent = {COMPUTE: length(compute)}
    spent[INPUT] = length(compute + waits) - spent[COMPUTE]
    known = length(compute + waits + transfers)
    spent[SERVERS] = known - spent[COMPUTE] - spent[INPUT]
    spent[OTHER] = max(0, total - known)
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
    sent: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for sample in samples:
        worked: dict[str, list[Interval]] = defaultdict(list)
        for device, ops in sample.devices.items():
            owner = sample.owner(device)
            for op in ops:
                if _TRANSFER.match(op.type):
                    _count_bytes(op, sent, taken)
                elif owner.startswith("ps:"):
                    counts[owner] += 1
                    worked[owner].append((op.start_us, op.end_us))
        for owner, intervals in worked.items():
            busy_us[owner] += length(intervals)
    number, total = max(1, len(samples)), sum(busy_us.values())
    names = {*busy_us, *counts, *(task for task in (*sent, *taken) if task.startswith("ps:"))}
    return tuple(
        ServerLoad(
            task=task,
            busy_ms=busy_us[task] / number / 1000,
            ops=counts[task] / number,
            bytes_out=sent[task] / number,
            bytes_in=taken[task] / number,
            share=busy_us[task] / total if total else 0.0,
        )
        for task in sorted(names, key=lambda name: (len(name), name))
    )


def _count_bytes(op: Op, sent: Counter[str], taken: Counter[str]) -> None:
    match = _LABEL.search(op.detail)
    if match is None:
        return
    source, target = task_of_device(match[2]), task_of_device(match[3])
    if source and target and source != target:
        sent[source] += int(match[1])
        taken[target] += int(match[1])
