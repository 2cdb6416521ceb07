"""A spec's text into a ClusterSpec, with every problem named at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from pydantic import TypeAdapter, ValidationError

from launcher.spec import source as sources
from launcher.spec.checks import cross_problems
from launcher.spec.parts import Parts
from launcher.spec.source import Origin, Path, Source, Tree, nearest, path_text
from launcher.spec.types import ClusterSpec
from launcher.spec.words import findings
from launcher.wire.errors import Problem, SpecError, UsageError


@dataclass(frozen=True, slots=True)
class Override:
    """A value that replaces one of the spec. ``origin``: who says so, as in ``--workers`` or ``TFLAUNCH_NAME``."""

    value: object
    origin: str


def read_spec(path: FilePath) -> ClusterSpec:
    """The spec in a file. Raises SpecError for its content, UsageError if it cannot be read."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no file; name a cluster spec")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the cluster spec: {error.strerror or error}") from error
    return parse_spec(sources.decode(data, str(path)), str(path))


def parse_spec(text: str, file: str = "spec") -> ClusterSpec:
    """The spec in ``text``; raises SpecError with everything that is wrong. ``file`` is what the problems name."""
    return _spec_of(sources.read_yaml(text, file))


def apply_overrides(spec: ClusterSpec, overrides: Mapping[str, Override]) -> ClusterSpec:
    """The spec with other values at dotted paths, such as ``roles.worker.count``; checked again as a whole.

    A mapping as the value is merged into the one that is there, key by key. Raises SpecError, whose problems name the
    option where a value came from one.
    """
    tree = plain_tree(spec)
    origins = dict(spec.origins)
    for dotted, override in overrides.items():
        path: Path = tuple(dotted.split("."))
        tree = _replaced(tree, path, override, (), origins)
    file = origins.get((), Origin("spec")).file
    return _spec_of(Source(file=file, tree=tree, origins=origins, problems=()))


def plain_tree(spec: ClusterSpec) -> Tree:
    """The keys that were written, without defaults, as a file would hold them."""
    return to_tree(spec.model_dump(exclude_unset=True))


def to_tree(value: object) -> Tree:
    """Plain values as reading them from YAML would give them."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_tree(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return tuple(to_tree(item) for item in value)
    return str(value)


def _replaced(tree: Tree, path: Path, override: Override, at: Path, origins: dict[Path, Origin]) -> Tree:
    if path:
        values = dict(tree) if isinstance(tree, Mapping) else {}
        key = str(path[0])
        origins.setdefault(at, Origin(override.origin))
        values[key] = _replaced(values.get(key), path[1:], override, (*at, key), origins)
        return values
    new = to_tree(override.value)
    if isinstance(new, Mapping) and isinstance(tree, Mapping):
        origins.update({(*at, key): Origin(override.origin) for key in new})
        return {**tree, **new}
    for known in [known for known in origins if known[: len(at)] == at]:
        del origins[known]
    origins[at] = Origin(override.origin)
    if isinstance(new, Mapping):
        origins.update({(*at, key): Origin(override.origin) for key in new})
    return new


def _spec_of(source: Source) -> ClusterSpec:
    problems = list(source.problems)

    def note(path: Path, message: str) -> None:
        origin = nearest(source.origins, path)
        problems.append(Problem(origin.file, origin.line, path_text(path), message))

    spec = _validated(source.tree, note)
    for path, message in cross_problems(Parts.of(source.tree)):
        note(path, message)
    if problems or spec is None:
        raise SpecError(sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0))
    return spec.with_origins(source.origins)


_SPEC = TypeAdapter(ClusterSpec)


def _validated(tree: Tree, note: Callable[[Path, str], None]) -> ClusterSpec | None:
    try:
        return _SPEC.validate_python(tree)
    except ValidationError as error:
        for path, message in findings(error, tree):
            note(path, message)
        return None
