"""What an inspection found, as tables for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launcher.estimator.inspection.values import Graph, Model, Tensor, shape_text
from launcher.views import terminal
from launcher.wire.text import one_line

if TYPE_CHECKING:
    from launcher.estimator.inspection.compare import Difference

_KINDS = {
    "checkpoint": "checkpoint",
    "meta_graph": "graph with collections (MetaGraphDef)",
    "graph": "graph (GraphDef)",
    "saved_model": "SavedModel",
}
_PIPE_WIDTH = 4096  # nothing is cut where no terminal sets a width
_FEW = 20
_NUMBERS = frozenset(
    {"step", "size", "count", "traced", "ms/step", "compute", "input", "parameter servers", "other"}
    | {"share", "ops/step", "ms traced"}
)


def text(draw: Callable[..., None], *values: Any, out: TextIO) -> str:
    """What ``draw(console, *values)`` writes, for that stream: in colour and as wide as it is, if a terminal."""
    buffer = io.StringIO()
    if out.isatty():
        console = terminal.console(buffer, force_terminal=True, width=Console(file=out).width)
    else:
        console = terminal.console(buffer, width=_PIPE_WIDTH, color_system=None)
    draw(console, *values)
    lines = (line.rstrip() for line in buffer.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def model(console: Console, model: Model) -> None:
    """One model, from what it is to each of its variables."""
    step = f", step {model.step:,}" if model.step is not None else ""
    several = f" folder with {len(model.checkpoints)}" if model.checkpoints else ""
    console.print(f"[bold]{_safe(model.path)}[/]: {_KINDS[model.kind]}{several}, {size(model.bytes)}{step}")
    for graph in model.graphs:
        _graph(console, graph)
    if model.assets:
        console.print(f"assets: {_safe(', '.join(model.assets))}")
    _checkpoints(console, model)
    _variables(console, model)
    for note in model.notes:
        console.print(f"[dim]{_safe(note)}[/]")
    for problem in model.problems:
        console.print(f"[bold red]{_safe(problem)}[/]")


def comparison(console: Console, models: Sequence[Model], differences: Sequence[Difference]) -> None:
    """What the second has that the first has not, and the other way round."""
    first, second = (_safe(model.path) for model in models)
    if not differences:
        console.print(f"[bold]{first}[/] and [bold]{second}[/]: no difference")
    else:
        rows = [(item.what, item.name, item.change, item.before, item.after) for item in differences]
        console.print(f"[bold]{first}[/] to [bold]{second}[/]: {len(rows)} differences")
        table(console, "", ("what", "name", "change", "before", "after"), rows)
    for problem in (problem for model in models for problem in model.problems):
        console.print(f"[bold red]{_safe(problem)}[/]")


def outputs(
    console: Console, paths: Sequence[str], results: Sequence[Mapping[str, Any]], differing: Mapping[str, str]
) -> None:
    """What each model gave."""
    for path, result in zip(paths, results, strict=True):
        console.print(f"[bold]{_safe(path)}[/]")
        for name, value in result.items():
            array = _array_text(value)
            console.print(f"  {_safe(name)}  [dim]{_safe(_type_text(value))}[/]")
            for line in array.splitlines():
                console.print(f"    {_safe(line)}")
    if len(paths) == 2 and not differing:
        console.print("both give the same")
    for name, how in differing.items():
        console.print(f"[bold red]{_safe(name)} differs: {_safe(how)}[/]")


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return "?"
    value, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{count} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def _safe(value: str) -> str:
    return escape(one_line(value))


def _array_text(value: Any) -> str:
    import numpy as np

    return np.array2string(np.asarray(value), threshold=60, max_line_width=100)


def _type_text(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    return f"{dtype if dtype is not None else type(value).__name__} {list(getattr(value, 'shape', ()))}"


def table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows below each other, columns of numbers set to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        right = column in _NUMBERS
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_safe, row))
    console.print()
    if title:
        console.print(f"[bold]{title}[/]")
    console.print(table)


# --- parts -------------------------------------------------------------------------------------------------------


def _graph(console: Console, graph: Graph) -> None:
    tags = f"tags {', '.join(graph.tags)}, " if graph.tags else ""
    version = f", written by TensorFlow {graph.tensorflow}" if graph.tensorflow else ""
    functions = f", {graph.functions:,} functions" if graph.functions else ""
    constants = f", {size(graph.constant_bytes)} of constants" if graph.constant_bytes > 1024 else ""
    console.print(_safe(f"{tags}{graph.nodes:,} nodes{functions}{constants}{version}"))
    for signature in graph.signatures:
        rows = [("in", *_tensor(item)) for item in signature.inputs]
        rows += [("out", *_tensor(item)) for item in signature.outputs]
        method = f"  [dim]{_safe(signature.method)}[/]" if signature.method else ""
        table(console, f"signature {_safe(signature.key)}{method}", ("", "name", "type", "shape", "tensor"), rows)
    if graph.placeholders:
        inputs = [_tensor(item)[1:] for item in graph.placeholders[:_FEW]]
        table(console, _titled("placeholders", len(graph.placeholders)), ("type", "shape", "tensor"), inputs)
    if graph.outputs and not graph.signatures:
        ends = [(item.dtype, item.tensor) for item in graph.outputs[:_FEW]]
        table(console, _titled("ends (no operation takes them)", len(graph.outputs)), ("type", "tensor"), ends)
    operations = [(f"{count:,}", name) for name, count in list(graph.operations.items())[:_FEW]]
    table(console, _titled("operations", len(graph.operations)), ("count", "type"), operations)
    for name, members in graph.collections.items():
        shown = [(item.dtype, shape_text(item.shape) if item.dtype else "", item.name) for item in members[:_FEW]]
        if any(item.dtype for item in members):
            table(console, _titled(f"collection {_safe(name)}", len(members)), ("type", "shape", "name"), shown)
        else:
            few = ", ".join(item.name for item in members[:5])
            more = f" and {len(members) - 5} more" if len(members) > 5 else ""
            console.print(f"[bold]collection {_safe(name)}[/]: {_safe(few)}{more}")


def _titled(title: str, count: int) -> str:
    return f"{title}: {count}" + (f", the first {_FEW} (--json has all)" if count > _FEW else "")


def _tensor(item: Tensor) -> tuple[str, str, str, str]:
    return item.name, item.dtype, shape_text(item.shape), item.tensor


def _checkpoints(console: Console, model: Model) -> None:
    if not model.checkpoints:
        return
    rows = [
        (
            f"{row.step:,}" if row.step is not None else "?",
            size(row.bytes),
            row.saved_at or "",
            Path(row.prefix).name,
            "latest" if row.latest else "",
        )
        for row in model.checkpoints
    ]
    table(console, "checkpoints", ("step", "size", "saved", "name", ""), rows)


def _variables(console: Console, model: Model) -> None:
    if not model.variables:
        return
    parameters = sum(_count(item.shape) for item in model.variables)
    total = sum(item.bytes or 0 for item in model.variables)
    where = f" of {_safe(Path(model.variables_from).name)}" if model.checkpoints else ""
    title = f"variables{where}: {len(model.variables)}, {parameters:,} values, {size(total)}"
    rows = [(item.dtype, shape_text(item.shape), size(item.bytes), item.name) for item in model.variables]
    table(console, title, ("type", "shape", "size", "name"), rows)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
