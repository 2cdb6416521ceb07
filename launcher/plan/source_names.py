"""What a Python source names: the modules that it imports, what it uses of them, and the programs that it may start."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_SCRIPT = re.compile(r"[\w./-]+\.py\b")
_VARIABLE = re.compile(r"\$\{?\w+\}?|\$\([^)]*\)")  # of a shell
_MODULE = re.compile(r"\s-m\s+([\w.]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """Something of a module, as ``tensorflow.keras.layers.Dense``, whatever the source calls it."""

    name: str
    line: int


@dataclass(kw_only=True, slots=True)
class Names:
    """All of a source. ``imports``: modules, with one dot or more in front where they are relative, and those that it
    runs (``-m``); ``scripts``: names of ``.py`` files that stand in it as text; ``calls``: methods that are called, by
    name; ``sets``: variables of the environment that are set to a constant, with the line."""

    named: list[Named] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    sets: dict[str, tuple[str, int]] = field(default_factory=dict)


def names_of_python(text: str) -> Names:
    """Of a Python source; of one that this Python cannot read, nothing."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Names()
    names, aliases = Names(), dict[str, str]()
    nodes = list(ast.walk(tree))
    for node in nodes:
        _note_import(node, names, aliases)
    for node in nodes:
        _note_use(node, names, aliases)
    names.named.sort(key=lambda item: item.line)
    return names


def programs_of_text(text: str) -> tuple[list[str], list[str]]:
    """The ``.py`` files that a shell script, or a command, names, and the modules that it runs (``-m``)."""
    text = _VARIABLE.sub("", text)
    return _SCRIPT.findall(text), _MODULE.findall(text)


def _note_import(node: ast.AST, names: Names, aliases: dict[str, str]) -> None:
    if isinstance(node, ast.Import):
        for item in node.names:
            names.imports.append(item.name)
            names.named.append(Named(name=item.name, line=node.lineno))
            top = item.name.partition(".")[0]
            aliases[item.asname or top] = item.name if item.asname else top
    elif isinstance(node, ast.ImportFrom):
        module = f"{'.' * node.level}{node.module or ''}"
        names.imports.append(module)
        for item in node.names:
            full = f"{module}{'' if module.endswith('.') else '.'}{item.name}"
            names.imports.append(full)
            names.named.append(Named(name=full, line=node.lineno))
            aliases[item.asname or item.name] = full


def _note_use(node: ast.AST, names: Names, aliases: dict[str, str]) -> None:
    if isinstance(node, ast.Attribute):
        dotted = ".".join(reversed(list(_parts(node))))
        top, _, rest = dotted.partition(".")
        if top in aliases and rest:
            names.named.append(Named(name=f"{aliases[top]}.{rest}", line=node.lineno))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
        names.scripts.append(node.value)
    elif isinstance(node, (ast.List, ast.Tuple)):
        texts = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
        names.imports += [str(name) for flag, name in itertools.pairwise(texts) if flag == "-m" and name]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        names.calls.add(node.func.attr)
        if node.func.attr == "setdefault" and len(node.args) == 2:
            _note_set(names, *node.args)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        _note_set(names, node.targets[0].slice, node.value)


def _note_set(names: Names, key: ast.expr, value: ast.expr) -> None:
    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
        names.sets[str(key.value)] = (str(value.value), key.lineno)


def _parts(node: ast.expr) -> Iterator[str]:
    """Of ``a.b.c``, the last first; an empty name where it hangs on something else than a name."""
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    yield node.id if isinstance(node, ast.Name) else ""
