"""What pydantic found, in the words of a spec's author."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from launcher.spec.engines import section_at
from launcher.spec.source import Path, SpelledFloat, SpelledInt, Tree
from launcher.spec.texts import did_you_mean
from launcher.spec.types import MAX_TASKS, SECTIONS, ClusterSpec, Section


def findings(error: ValidationError, tree: Tree, at: Path = ()) -> Iterator[tuple[Path, str]]:
    """Each thing that is wrong with the value ``at`` a path: where, and what to do."""
    for detail in error.errors(include_url=False):
        path: Path = (*at, *(part for part in detail["loc"] if part != "[key]"))
        kind, context = detail["type"], detail.get("ctx", {})
        if kind != "missing":
            path = _written(tree, path)
        value = value_at(tree, path)
        if kind == "too_short" and isinstance(value, tuple) and value:
            continue  # pydantic counts the items that are well only
        if kind == "value_error":
            yield path, str(context["error"])
        elif kind == "extra_forbidden":
            yield path, unknown_key(path)
        elif kind == "missing":
            yield path, _missing(path)
        else:
            yield path, _wrong(kind, context, path, value)


def _written(tree: Tree, path: Path) -> Path:
    """The path as far as the spec has it: one number may stand for several."""
    for end in range(len(path)):
        if not isinstance(value_at(tree, path[:end]), (Mapping, tuple)):
            return path[:end]
    return path


def value_at(tree: Tree, path: Path) -> Tree:
    """The value at ``path``, None if there is none."""
    for part in path:
        if isinstance(tree, Mapping) and isinstance(part, str):
            tree = tree.get(part)
        elif isinstance(tree, tuple) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def section_of(path: Path) -> type[Section] | None:
    """Which section of the spec a path leads to, None if to no section."""
    fixed = SECTIONS.get("".join("[]" if isinstance(part, int) else f".{part}" for part in path).lstrip("."))
    return fixed or section_at(path)


def unknown_key(path: Path) -> str:
    """What to say about a key that the spec does not have at this place."""
    word = str(path[-1])
    parent = path[:-1]
    section = section_of(parent)
    known = tuple(section.model_fields) if section else ()
    if parent == ("roles",):
        if word == "master":
            return "is tf.estimator's old name of the chief; call it 'chief'"
        return f"unknown role {word[:80]!r}{did_you_mean(word, known) or '; roles are ' + ', '.join(known)}"
    hint = did_you_mean(word, known)
    if not hint and word in ClusterSpec.model_fields:
        hint = f"; {word!r} belongs at the top of the spec"
    return f"unknown key {word[:80]!r}{hint or ('; known are ' + ', '.join(known) if known else '')}"


def _missing(path: Path) -> str:
    if path == ("roles",):
        return "is missing; say how many tasks of each kind: roles: {ps: {count: 1}, chief: {}, worker: {count: 2}}"
    return "is missing"


def _wrong(kind: str, context: Mapping[str, object], path: Path, value: Tree) -> str:
    got = describe(value, hide="env" in path)
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"):
        return f"must be {_bounds(kind, context)}, got {got}"
    if kind in ("int_type", "int_from_float", "int_parsing_size"):
        return f"must be a whole number, got {got}"
    if kind == "literal_error":
        options = str(context["expected"])
        near = did_you_mean(value, options.replace("'", "").split(" or ")) if isinstance(value, str) else ""
        return f"must be {options}, got {got}{near}"
    if kind in ("string_too_short", "too_short"):
        return "is empty" if path != ("command",) else "is empty; write what to run: [python, train.py]"
    if kind == "too_long" and isinstance(value, Mapping):
        return f"names {len(value)}; write one"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters"
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return f"must be a mapping{_mapping_example(path)}, got {got}"
    if kind == "tuple_type":
        return f"must be a list{_list_example(path, value)}, got {got}"
    if kind == "string_type":
        return f"must be text, got {got}{_quote_advice(value)}"
    return f"must be {_TYPES.get(kind, 'something else')}, got {got}"


_TYPES = {"bool_type": "true or false", "float_type": "a number", "float_parsing": "a number"}


def _bounds(kind: str, context: Mapping[str, object]) -> str:
    if kind == "greater_than":
        return "more than 0"
    if kind == "greater_than_equal":
        return f"{context['ge']:g} or more"
    if kind in ("less_than", "less_than_equal"):
        bound = context.get("le", context.get("lt"))
        return f"at most {bound:,}" if isinstance(bound, (int, float)) else f"at most {MAX_TASKS:,}"
    return "a finite number"


def _mapping_example(path: Path) -> str:
    if not path:
        return " with keys such as 'command' and 'roles'"
    if path[0] == "roles" and len(path) == 2:
        return ", such as {count: 2}"
    if path[-1] == "env":
        return " of names and values, such as {OMP_NUM_THREADS: 2}"
    if path == ("hosts",):
        return ""
    if path[0] == "hosts" and len(path) == 2:
        return ", such as {name: a, address: 10.0.0.1}"
    return ""


def _list_example(path: Path, value: Tree) -> str:
    if isinstance(value, str) and value.strip():
        words = value.split()
        if path == ("command",) or path[-1] in ("on", "preload"):
            return f", such as [{', '.join(words[:6])}{', …' if len(words) > 6 else ''}]"
    return ""


def _quote_advice(value: Tree) -> str:
    if isinstance(value, bool):
        return "; put it in quotes if the text is meant"
    return "; write '' for an empty text" if value is None else ""


def describe(value: Tree, *, hide: bool = False) -> str:
    """A value in words, shortened. ``hide``: say its kind only, it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (SpelledInt, SpelledFloat)):
        return "a number" if hide else _short(value.text)
    if isinstance(value, (int, float)):
        return "a number" if hide else _short(str(value))
    if isinstance(value, str):
        return "text" if hide else f"the text {_short(value)!r}"
    return "a list" if isinstance(value, tuple) else "a mapping"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
