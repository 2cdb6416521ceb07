"""What an inspection finds, as plain values. ``to_json`` gives them to programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from launcher.wire.errors import UsageError

Shape = tuple[int | None, ...] | None  # None: the rank is not known; a None inside: that dimension is not


class InspectionError(UsageError):
    """What was named cannot be inspected; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One tensor of a checkpoint. ``bytes``: None where its size is not fixed by its type (strings)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint of a folder. ``saved_at``: UTC in ISO 8601, None if its files are gone; ``problem``: what keeps
    it from being restored, empty if nothing is known to."""

    prefix: str
    step: int | None
    bytes: int
    saved_at: str | None
    latest: bool
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of a graph or of a signature. ``name``: what the signature calls it, empty in a graph;
    ``tensor``: its name in the graph, as ``x:0``."""

    tensor: str
    dtype: str
    shape: Shape
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way to call a SavedModel."""

    key: str
    method: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of a graph's collection; type and shape are those of a variable, else empty and None."""

    name: str
    dtype: str = ""
    shape: Shape = None


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph. ``outputs``: tensors that no operation takes; ``operations``: how many of each type;
    ``constant_bytes``: what its constants hold, the weights of a frozen graph; ``functions``: how many it defines."""

    tags: tuple[str, ...] = ()
    tensorflow: str = ""
    nodes: int = 0
    functions: int = 0
    constant_bytes: int = 0
    placeholders: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    signatures: tuple[Signature, ...] = ()
    operations: Mapping[str, int] = field(default_factory=dict)
    collections: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything found at ``path``. ``kind``: ``checkpoint``, ``meta_graph``, ``graph`` or ``saved_model``;
    ``variables_from``: the prefix of the checkpoint that ``variables`` are of."""

    kind: str
    path: str
    bytes: int
    step: int | None = None
    variables_from: str = ""
    variables: tuple[Variable, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    graphs: tuple[Graph, ...] = ()
    assets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass of this module as JSON has it."""
    return asdict(value)


def shape_text(shape: Shape) -> str:
    """As people write it: ``[?, 24]``; ``?`` for an unknown rank."""
    if shape is None:
        return "?"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
