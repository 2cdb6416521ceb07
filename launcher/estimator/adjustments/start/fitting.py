"""Whether a checkpoint fits a graph, and how to say where it does not. Pure: no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SHOWN = 20


class CheckpointMismatchError(ValueError):
    """A checkpoint that a graph is about to be restored from does not fit it. The first line says it all in short."""


class LostCheckpointError(ValueError):
    """A model_dir has checkpoints, and none that training would go on from: it would begin anew without a word."""


_QUEUE = "streaming/queue"  # of the streaming input, which takes it over by itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A variable. ``shape`` None: any; None in it: any length."""

    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        return f"{_shape(self.shape)} {self.dtype}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Differences:
    """Names of variables, sorted. ``added`` are in the graph only, ``removed`` in the checkpoint only; pairs are
    (name, in the checkpoint, in the graph)."""

    added: tuple[tuple[str, Stored], ...]
    removed: tuple[tuple[str, Stored], ...]
    reshaped: tuple[tuple[str, Stored, Stored], ...]
    retyped: tuple[tuple[str, Stored, Stored], ...]

    @property
    def forbid_restoring(self) -> bool:
        """What is removed only is not read, and does no harm."""
        return bool(self.added or self.reshaped or self.retyped)


def compare(*, graph: Mapping[str, Stored], checkpoint: Mapping[str, Stored]) -> Differences:
    """What restoring ``graph`` from ``checkpoint`` would do wrong, or leave out."""
    shared = [(name, checkpoint[name], graph[name]) for name in sorted(graph) if name in checkpoint]
    return Differences(
        added=tuple((name, graph[name]) for name in sorted(graph) if name not in checkpoint),
        removed=tuple((name, checkpoint[name]) for name in sorted(checkpoint) if name not in graph),
        reshaped=tuple(row for row in shared if not _agree(row[1].shape, row[2].shape)),
        retyped=tuple(row for row in shared if row[1].dtype != row[2].dtype),
    )


def refusal(differences: Differences, checkpoint: str) -> str:
    """The text of a CheckpointMismatchError: a line that can stand alone, then every difference, then what to do."""
    name = checkpoint.rstrip("/").rpartition("/")[2]
    lines = [
        f"{name} does not fit the model: {_in_short(differences)}; train in a new model_dir, or warm-start it from "
        "the part that fits",
        f"  checkpoint: {checkpoint} (nothing of it was restored)",
        *_listed("another shape", [f"{n}: {_change(old.shape, new.shape)}" for n, old, new in differences.reshaped]),
        *_listed(
            "another type", [f"{n}: {old.dtype} stored, {new.dtype} wanted" for n, old, new in differences.retyped]
        ),
        *_listed("only in the model", [f"{n} {stored}" for n, stored in differences.added]),
        *_listed("only in the checkpoint", [f"{n} {stored}" for n, stored in differences.removed]),
        *_listed("perhaps renamed", [f"{new} was {old}" for new, old in renamed(differences)]),
        "  what to do: name a new model_dir; to keep what fits, call launcher.estimator.warm_start(checkpoint, "
        "names={new: old}) at the end of the model_fn, or use --warm-start where the job has it",
    ]
    return "\n".join(lines)


def left_out(differences: Differences, checkpoint: str) -> str:
    """A warning: what the checkpoint has besides; empty if that is nothing of the program's."""
    names = [name for name, _ in differences.removed if name != _QUEUE]
    if not names:
        return ""
    return f"{checkpoint} has {len(names)} variables that this model does not: {_some(names)}; they are not restored"


def renamed(differences: Differences) -> tuple[tuple[str, str], ...]:
    """Pairs (new name, old name) where exactly one added and one removed variable are of a shape and type."""
    pairs = []
    for new, stored in differences.added:
        twins = [name for name, other in differences.added if other == stored]
        old = [name for name, other in differences.removed if other == stored]
        if len(twins) == len(old) == 1:
            pairs.append((new, old[0]))
    return tuple(pairs)


def _agree(stored: tuple[int | None, ...] | None, wanted: tuple[int | None, ...] | None) -> bool:
    if stored is None or wanted is None:
        return True
    return len(stored) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(stored, wanted, strict=True)
    )


def _in_short(differences: Differences) -> str:
    first = [f"{name}: {_change(old.shape, new.shape)}" for name, old, new in differences.reshaped]
    types = [f"{name}: {old.dtype} stored, {new.dtype} wanted" for name, old, new in differences.retyped]
    kinds = (
        ("of another shape", first),
        ("of another type", types),
        ("missing in the checkpoint", [name for name, _ in differences.added]),
    )
    return "; ".join(f"{len(found)} {kind} ({_some(found, 1)})" for kind, found in kinds if found)


def _change(stored: tuple[int | None, ...] | None, wanted: tuple[int | None, ...] | None) -> str:
    return f"{_shape(stored)} stored, {_shape(wanted)} wanted"


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "any shape"
    return "[" + ", ".join("?" if length is None else str(length) for length in shape) + "]"


def _listed(title: str, rows: list[str]) -> list[str]:
    more = [f"  {title}: ... and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return [f"  {title}: {row}" for row in rows[:_SHOWN]] + more


def _some(names: list[str], shown: int = 5) -> str:
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
