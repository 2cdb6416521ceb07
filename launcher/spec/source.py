"""YAML text into plain values that know which line they come from.

Differs from PyYAML's own loader in what would surprise the author of a spec: keys are text as written (``on`` is no
truth value), only ``true`` and ``false`` are truth values, dates stay text, numbers remember their spelling, a key
that appears twice is a problem, and aliases cannot blow a small file up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Union

import yaml

from launcher.wire.errors import Problem, SpecError

MAX_NODES = 500_000
MAX_DEPTH = 50
MAX_BYTES = 16 * 1024 * 1024

Tree = Union[None, bool, int, float, str, "tuple[Tree, ...]", "Mapping[str, Tree]"]
Path = tuple[str | int, ...]

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
_MAX_DIGITS = 300  # float() of longer integers overflows, int() of very long ones is refused by Python


class SpelledInt(int):
    """An integer that remembers how it was written."""

    text: str


class SpelledFloat(float):
    """A number that remembers how it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and its line, or an option."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The content of a spec file. ``origins``: where each key and list item stands; ``problems``: what YAML itself
    does not forbid, but this reader does."""

    file: str
    tree: Tree
    origins: Mapping[Path, Origin]
    problems: tuple[Problem, ...]


def decode(data: bytes, file: str) -> str:
    """The text of a spec file; raises SpecError where it is not UTF-8 or unreasonably long."""
    if len(data) > MAX_BYTES:
        raise SpecError([Problem(file, None, "", f"is {len(data)} bytes long; a spec has at most {MAX_BYTES}")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise SpecError([Problem(file, line, "", f"is not UTF-8 ({byte}); save the file as UTF-8")]) from error


def read_yaml(text: str, file: str) -> Source:
    """The values of one YAML document; raises SpecError if it is none."""
    bad = _CONTROL.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        message = f"contains the control character {_escaped(bad[0])}; remove it"
        raise SpecError([Problem(file, line, "", message)])
    try:
        _bound(text, file)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise SpecError([_syntax_problem(error, text, file)]) from error
    if node is None:
        message = "is empty; the shortest spec is 'roles: {ps: {}, chief: {}}' and a command"
        raise SpecError([Problem(file, 1, "", message)])
    return _Builder(file).source(node)


def _escaped(character: str) -> str:
    return f"U+{ord(character):04X}"


def _bound(text: str, file: str) -> None:
    """Refuses what is nested so deeply that composing it would exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else None
                raise SpecError([Problem(file, line, "", f"is nested more than {MAX_DEPTH} levels deep")])
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(file, None, "", f"is not YAML: {error}")
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line = min(mark.line + 1, len(lines)) if mark else None
    at = lines[line - 1] if line else ""
    if "\t" in at[: len(at) - len(at.lstrip())]:
        return Problem(file, line, "", "is indented with a tab; YAML wants spaces")
    problem, context = error.problem or "", error.context or ""
    if "another document" in problem:
        return Problem(file, line, "", "starts a second document; a spec is one document")
    return Problem(file, line, "", "is not YAML: " + ", ".join(part for part in (context, problem) if part))


@dataclass
class _Builder:
    """Walks a node graph once. Aliases are followed, each time anew, up to ``MAX_NODES`` values in all."""

    file: str
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def source(self, node: yaml.Node) -> Source:
        self.origins[()] = self._origin(node)
        tree = self._tree(node, (), ())
        return Source(file=self.file, tree=tree, origins=self.origins, problems=tuple(self.problems))

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.file, node.start_mark.line + 1)

    def _problem(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, path_text(path), message))

    def _tree(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Tree:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"has aliases that unfold to more than {MAX_NODES} values; write fewer"
            raise SpecError([Problem(self.file, node.start_mark.line + 1, "", message)])
        if any(node is ancestor for ancestor in above):
            self._problem(node, path, "contains itself through an alias")
            return None
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._problem(node, path, f"has the tag {node.tag}; tags mean nothing here, remove it")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path, (*above, node))
        return self._mapping(node, path, (*above, node))

    def _sequence(self, node: yaml.SequenceNode, path: Path, above: tuple[yaml.Node, ...]) -> Tree:
        items = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.origins[here] = self._origin(item)
            items.append(self._tree(item, here, above))
        return tuple(items)

    def _mapping(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Tree:
        values: dict[str, Tree] = {}
        first: dict[str, int] = {}
        for key_node, value_node, merged in self._pairs(node, path, above):
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "has a list or a mapping as a key; keys are plain words")
                continue
            key: str = key_node.value
            here = (*path, key)
            if merged and key in values:
                continue
            if key in first:
                self._problem(key_node, here, f"appears twice; the first is in line {first[key]}")
                continue
            if not merged:
                first[key] = key_node.start_mark.line + 1
            self.origins[here] = self._origin(key_node)
            values[key] = self._tree(value_node, here, above)
        return values

    def _pairs(
        self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]
    ) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
        """Own pairs first, then those that ``<<`` merges in, which the own ones override."""
        merges: list[yaml.Node] = []
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style:
                merges.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
            else:
                yield key, value, False
        for merge in merges:
            if not isinstance(merge, yaml.MappingNode):
                self._problem(merge, path, "'<<' merges mappings; write it as '<<: *anchor'")
            elif any(merge is ancestor for ancestor in above):
                self._problem(merge, path, "contains itself through an alias")
            else:
                for key, value, _ in self._pairs(merge, path, (*above, merge)):
                    yield key, value, True

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Tree:
        text: str = node.value
        bad = _CONTROL.search(text)
        if bad:
            self._problem(node, path, f"contains the control character {_escaped(bad[0])}; remove it")
            return _CONTROL.sub("", text)
        if node.style or node.tag.endswith(":str"):
            return text
        return plain_value(text)


def plain_value(text: str) -> Tree:
    """What an unquoted scalar means: YAML 1.2's core schema, without octal and hexadecimal numbers."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS:
        whole = SpelledInt(text)
        whole.text = text
        return whole
    if _FLOAT.fullmatch(text) or _SPECIAL_FLOAT.fullmatch(text):
        number = SpelledFloat(text.lower().replace(".", "") if text[-1].isalpha() else text)
        number.text = text
        return number
    return text


_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def path_text(path: Path) -> str:
    """A path as people read it: ``hosts[1].ssh.port``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part[:80]!r}]"
    return text


def nearest(origins: Mapping[Path, Origin], path: Path) -> Origin:
    """The origin of ``path``, or of what it is part of."""
    for end in range(len(path), -1, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return Origin("spec")


def spelled(value: object) -> object:
    """A number where text is wanted: as it was written, so that ``0.10`` stays ``0.10``."""
    return value.text if isinstance(value, (SpelledInt, SpelledFloat)) else value
