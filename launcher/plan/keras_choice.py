"""Which Keras a program is given as ``tf.keras`` from TensorFlow 2.16 on, where it can be 3 or 2 (tf-keras).

TensorFlow looks for ``TF_USE_LEGACY_KERAS`` once, so this is decided before anything runs, by what the program and the
modules beside it import and use. The first that holds decides:

1. TF_USE_LEGACY_KERAS is set: in the environment, in the spec, or by the program itself. It stays as it is.
2. The adjustment ``legacy-keras`` is switched on or off.
3. Estimators are used: ``tf.estimator`` under any of its names, ``launcher.estimator``, or a library that is made of
   them; or what only Keras 2 has. Keras 2.
4. ``tf.keras`` is used under a ParameterServerStrategy, or ``fit`` under a MultiWorkerMirroredStrategy: Keras 3 fails
   in both. Keras 2.
5. The program can be read, and nothing of this is there. Keras 3.
6. It cannot be read from here: Keras 2 in a cluster with parameter servers, which little else can use; else Keras 3.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from launcher.plan.source_names import Named, Names, names_of_python, programs_of_text
from launcher.wire.keras import VARIABLE, is_legacy
from launcher.wire.variables import OFF, ON, UNNEEDED

Read = Callable[[str], "str | None"]

_MOST_FILES = 400
_ESTIMATOR = re.compile(
    r"tensorflow(\.compat\.v[12])?(\.python)?(\.keras)?\.estimator(\.|$)|tensorflow_estimator(\.|$)"
)
_OURS = re.compile(r"launcher\.estimator(\.|$)")
_MADE_OF_ESTIMATORS = frozenset(
    {"adanet", "deepctr", "deepmatch", "easy_rec", "tensor2tensor", "tensorflow_ranking", "xdeepctr"}
)
_ONLY_KERAS_2 = re.compile(
    r"tensorflow(\.compat\.v[12])?\.keras\.(optimizers\.legacy|layers\.DenseFeatures|experimental)(\.|$)"
    r"|tensorflow\.compat\.v1\.keras(\.|$)|tf_keras(\.|$)"
)
_MAY_RUN_ANYTHING = frozenset({"importlib", "multiprocessing", "runpy", "subprocess"})
_KERAS = re.compile(r"tensorflow(\.compat\.v[12])?\.keras(\.|$)")
_PARAMETER_SERVERS = re.compile(r"tensorflow\..*\bParameterServerStrategy(V2)?$")
_MIRRORED = re.compile(r"tensorflow\..*\b(MultiWorkerMirroredStrategy|CollectiveAllReduceStrategy)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class KerasChoice:
    """``legacy``: Keras 2. ``reason``: why, for the reader. ``is_ours``: False if somebody else has set VARIABLE;
    ``is_guess``: it was found by the rule."""

    legacy: bool
    reason: str
    is_ours: bool = True
    is_guess: bool = True

    def word(self) -> str:
        """What tasks are told of it."""
        if self.is_ours and self.legacy:
            return ON
        return UNNEEDED if self.is_ours and self.is_guess else OFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command, and where it runs. ``program``: script or ``-m module`` with its arguments, empty for what is no
    Python; ``argv``: all of it; ``installed``: folders in which a module may be that is not in ``cwd``."""

    program: tuple[str, ...]
    argv: tuple[str, ...]
    cwd: str
    installed: tuple[str, ...] = ()


def of_environment(value: str) -> KerasChoice:
    """What the user has set himself."""
    return KerasChoice(legacy=is_legacy({VARIABLE: value}), reason=f"{VARIABLE}={value} is set", is_ours=False)


def choose(program: Program, read: Read, *, has_ps: bool) -> KerasChoice:
    """The rule, from 3 on, and what the program sets itself. ``read``: the text of a file, None if there is none."""
    found = _Found()
    for path, names in _sources(program, read):
        shown = _shown(path, program)
        if VARIABLE in names.sets:
            value, line = names.sets[VARIABLE]
            return KerasChoice(
                legacy=is_legacy({VARIABLE: value}), reason=f"{shown}:{line} sets {VARIABLE}={value}", is_ours=False
            )
        found.note(shown, names)
    return found.choice(has_ps=has_ps)


def estimator_in(program: Program, read: Read) -> str:
    """Where the program uses tf.estimator, as far as can be read; empty if nowhere, or beside a strategy that needs no
    parameter servers."""
    place = ""
    for path, names in _sources(program, read):
        for named in names.named:
            if _MIRRORED.match(named.name):
                return ""
            if not place and _is_estimator(named.name):
                place = _place(_shown(path, program), named)
    return place


def needs_only_python(program: Program, read: Read) -> bool:
    """Whether the program, and all that it imports, can be read and imports nothing but the standard library."""
    sources = list(_sources(program, read))
    return bool(sources) and all(_is_known(name, path, read) for path, names in sources for name in names.imports)


def _is_known(name: str, path: str, read: Read) -> bool:
    """Whether an import is of the standard library, and of no part of it that imports or runs what has no name here, or
    of a module beside the source."""
    top, folder = name.partition(".")[0], posixpath.dirname(path)
    if not top or top in sys.stdlib_module_names - _MAY_RUN_ANYTHING:
        return True
    return any(read(f"{folder}/{top}{end}") is not None for end in (".py", "/__init__.py"))


@dataclass(kw_only=True, slots=True)
class _Found:
    """What shows a need of Keras 2, each with the place where it was seen first."""

    files: list[str] = field(default_factory=list)
    estimator: str = ""
    keras: str = ""
    parameter_servers: str = ""
    mirrored: str = ""
    fits: bool = False

    def note(self, shown: str, names: Names) -> None:
        self.files.append(shown)
        self.fits = self.fits or "fit" in names.calls
        for named in names.named:
            if not self.estimator and _needs_keras_2(named.name):
                self.estimator = _place(shown, named)
            if not self.keras and _KERAS.match(named.name):
                self.keras = _place(shown, named)
            if not self.parameter_servers and _PARAMETER_SERVERS.match(named.name):
                self.parameter_servers = _place(shown, named)
            if not self.mirrored and _MIRRORED.match(named.name):
                self.mirrored = _place(shown, named)

    def choice(self, *, has_ps: bool) -> KerasChoice:
        if self.estimator:
            return KerasChoice(legacy=True, reason=self.estimator)
        if self.keras and self.parameter_servers:
            return KerasChoice(legacy=True, reason=f"{self.keras} and {self.parameter_servers}")
        if self.keras and self.mirrored and self.fits:
            return KerasChoice(legacy=True, reason=f"{self.keras} and {self.mirrored}, and calls fit")
        if self.files:
            more = f" and {len(self.files) - 1} modules beside it" if len(self.files) > 1 else ""
            return KerasChoice(legacy=False, reason=f"nothing in {self.files[0]}{more} needs Keras 2")
        where = "the cluster has parameter servers" if has_ps else "the cluster has no parameter servers"
        return KerasChoice(legacy=has_ps, reason=f"the program cannot be read from here, and {where}")


def _needs_keras_2(name: str) -> bool:
    return _is_estimator(name) or _OURS.match(name) is not None or _ONLY_KERAS_2.match(name) is not None


def _is_estimator(name: str) -> bool:
    return name.partition(".")[0] in _MADE_OF_ESTIMATORS or _ESTIMATOR.match(name) is not None


def _shown(path: str, program: Program) -> str:
    return posixpath.relpath(path, program.cwd) if path.startswith(f"{program.cwd}/") else path


def _place(shown: str, named: Named) -> str:
    return f"{shown}:{named.line} uses {named.name}"


# --- the files ---------------------------------------------------------------------------------------------------

_Place = tuple[str, str]  # a file, and the folder from which it imports


def _sources(program: Program, read: Read) -> Iterator[tuple[str, Names]]:
    """The program and what it imports or names, the nearest first, each file once."""
    waiting = deque(_beginnings(program, read))
    seen: set[str] = set()
    while waiting and len(seen) < _MOST_FILES:
        path, root = waiting.popleft()
        text = read(path) if path not in seen else None
        if text is None:
            continue
        seen.add(path)
        names = names_of_python(text)
        yield path, names
        own = path.removeprefix(f"{root}/").partition("/")[0] if root in program.installed else ""
        imports = [name for name in names.imports if not own or name.startswith((".", own))]
        waiting.extend(_modules(imports, path, root))
        for script in names.scripts:
            waiting.extend(_scripts(script, program.cwd, posixpath.dirname(path)))


def _beginnings(program: Program, read: Read) -> Iterator[_Place]:
    first = program.program[0] if program.program else ""
    if first == "-m":
        yield from _mains(program.program[1], program)
    elif first:
        path = _joined(program.cwd, first)
        yield path, posixpath.dirname(path)
        yield f"{path}/__main__.py", path
    else:
        files = [_joined(program.cwd, word) for word in program.argv if "/" in word or "." in word]
        texts = [" ".join(program.argv), *(read(file) or "" for file in files if not file.endswith(".py"))]
        scripts, modules = programs_of_text("\n".join(texts))
        for script in scripts:
            yield from _scripts(script, program.cwd, *map(posixpath.dirname, files))
        for module in modules:
            yield from _mains(module, program)


def _mains(module: str, program: Program) -> Iterator[_Place]:
    """What ``-m`` runs."""
    for folder in (program.cwd, *program.installed):
        for name in ("", "/__main__"):
            yield f"{folder}/{module.replace('.', '/')}{name}.py", folder


def _scripts(name: str, *folders: str) -> Iterator[_Place]:
    """Where a file of that name may be; one with a slash in front may be the rest of a longer name."""
    for folder in dict.fromkeys(folders):
        for path in dict.fromkeys((_joined(folder, name), _joined(folder, name.lstrip("/")))):
            yield path, posixpath.dirname(path)


def _modules(imports: Sequence[str], path: str, root: str) -> Iterator[_Place]:
    """Where imported modules may be, beside the program, and the packages that they are in."""
    for name in imports:
        module = name.lstrip(".")
        home = root
        if module != name:
            home = posixpath.normpath(posixpath.join(path, *[".."] * (len(name) - len(module))))
            yield f"{home}/__init__.py", root
        parts = module.split(".") if module else []
        for length in range(1, len(parts) + 1):
            base = "/".join((home, *parts[:length]))
            yield f"{base}.py", root
            yield f"{base}/__init__.py", root


def _joined(folder: str, name: str) -> str:
    return posixpath.normpath(name if name.startswith("/") else f"{folder}/{name}")
