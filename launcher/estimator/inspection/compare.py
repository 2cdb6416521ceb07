"""What differs between two models. Plain values; those of variables come from ``value_differences``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from launcher.estimator.inspection.values import Model, Signature, Tensor, Variable, shape_text

_V = TypeVar("_V")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not the same. ``what``: ``variable``, ``operation``, ``placeholder``, ``signature``, …;
    ``change``: ``added`` (in the second only), ``removed``, ``reshaped``, ``other type``, ``changed``, ``values``."""

    what: str
    name: str
    change: str
    before: str = ""
    after: str = ""


def compare(first: Model, second: Model) -> tuple[Difference, ...]:
    """Every difference between what the two hold, values aside."""
    found = list(_variables(first.variables, second.variables))
    if first.kind != second.kind:
        found.insert(0, Difference(what="kind", name="", change="changed", before=first.kind, after=second.kind))
    if first.step != second.step and None not in (first.step, second.step):
        found.append(Difference(what="step", name="", change="changed", before=f"{first.step}", after=f"{second.step}"))
    if first.graphs and second.graphs:
        a, b = first.graphs[0], second.graphs[0]
        found += _texts("tags", {"": ", ".join(a.tags)}, {"": ", ".join(b.tags)})
        found += _texts("placeholder", _tensor_texts(a.placeholders), _tensor_texts(b.placeholders))
        found += _texts("output", _tensor_texts(a.outputs), _tensor_texts(b.outputs))
        found += _texts("signature", _signature_texts(a.signatures), _signature_texts(b.signatures))
        found += _texts("operation", _counts(a.operations), _counts(b.operations))
        found += _texts(
            "collection",
            {f"{name}/{member.name}": "" for name, members in a.collections.items() for member in members},
            {f"{name}/{member.name}": "" for name, members in b.collections.items() for member in members},
        )
    return tuple(found)


def _variables(first: Iterable[Variable], second: Iterable[Variable]) -> Iterable[Difference]:
    a, b = {item.name: item for item in first}, {item.name: item for item in second}
    for name in sorted({*a, *b}):
        before, after = a.get(name), b.get(name)
        if before is None or after is None:
            change = "removed" if after is None else "added"
            yield Difference(what="variable", name=name, change=change, before=_text(before), after=_text(after))
        elif before.shape != after.shape:
            yield Difference(what="variable", name=name, change="reshaped", before=_text(before), after=_text(after))
        elif before.dtype != after.dtype:
            yield Difference(what="variable", name=name, change="other type", before=_text(before), after=_text(after))


def _text(variable: Variable | None) -> str:
    return f"{variable.dtype} {shape_text(variable.shape)}" if variable else ""


def _texts(what: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterable[Difference]:
    for name in sorted({*first, *second}):
        before, after = first.get(name), second.get(name)
        if before != after:
            change = "removed" if after is None else "added" if before is None else "changed"
            yield Difference(what=what, name=name, change=change, before=before or "", after=after or "")


def _tensor_texts(tensors: Iterable[Tensor]) -> dict[str, str]:
    return {item.tensor: f"{item.dtype} {shape_text(item.shape)}" for item in tensors}


def _signature_texts(signatures: Iterable[Signature]) -> dict[str, str]:
    made = {}
    for signature in signatures:
        for way, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
            made.update(
                {f"{signature.key}.{way}.{item.name}": f"{item.dtype} {shape_text(item.shape)}" for item in tensors}
            )
    return made


def _counts(operations: Mapping[str, int]) -> dict[str, str]:
    return {name: str(count) for name, count in operations.items()}


def common(first: Model, second: Model) -> tuple[str, ...]:
    """The variables that both have with the same type and shape."""
    a = {item.name: item for item in first.variables}
    return tuple(item.name for item in second.variables if a.get(item.name) == item)
