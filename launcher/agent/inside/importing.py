"""What a program may import without noticing how it was started.

In a forked task TensorFlow is loaded before the program asks for it. ``Hidden`` keeps such modules out of
``sys.modules``, and ``Finder`` gives them back at the first import, provided that an import would have led to the same
modules: that the program has not set a variable that TensorFlow reads while it is imported, and has no module of the
same name in front of it. Otherwise the program has to be started over in an interpreter of its own.

The packages of tflaunch itself, ``launcher`` and ``jobs``, come last: a package of the user by that name wins.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OURS = ("launcher", "jobs")
ROOT = os.path.realpath(__file__).rpartition("/launcher/")[0] or "/"
_MARK = "launcher/agent/inside/preload.py"

Needs = Mapping[str, frozenset[str]]
Spec = importlib.machinery.ModuleSpec


def top_of(name: str) -> str:
    """The top-level package of a dotted name."""
    return name.partition(".")[0]


@contextmanager
def recording() -> Iterator[dict[str, set[str]]]:
    """While inside, fills what it yields: for each top-level package the others that it imports.

    The standard library is left out: what pickle or pkgutil import is not theirs.
    """
    needs: defaultdict[str, set[str]] = defaultdict(set)
    original: Callable[..., Any] = builtins.__import__

    def record(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        importer = top_of((globals or {}).get("__name__") or "")
        if not level and importer not in sys.stdlib_module_names:
            needs[importer].add(top_of(name))
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = record
    try:
        yield needs
    finally:
        builtins.__import__ = original


class Hidden:
    """Modules that are loaded and that the program has not imported yet."""

    def __init__(self, needs: Mapping[str, Iterable[str]] | None = None) -> None:
        self._modules: dict[str, ModuleType] = {}
        self._needs = {name: frozenset(others) for name, others in (needs or {}).items()}

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> ModuleType:
        return self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def hide(self, tops: Iterable[str]) -> None:
        """Takes the modules of these packages out of ``sys.modules``."""
        wanted = set(tops)
        for name in [name for name in sys.modules if top_of(name) in wanted]:
            self._modules[name] = sys.modules.pop(name)

    def show(self, tops: Iterable[str]) -> dict[str, ModuleType]:
        """Puts the modules of these packages back into ``sys.modules``; gives what the program had there."""
        wanted = set(tops)
        theirs = {name: sys.modules.pop(name) for name in [*sys.modules] if top_of(name) in wanted}
        for name in [name for name in self._modules if top_of(name) in wanted]:
            sys.modules[name] = self._modules.pop(name)
        return theirs

    def give_back(self, top: str) -> set[str]:
        """Puts a package back into ``sys.modules`` with all that it has imported; returns the top-level names."""
        tops = self._closure(top)
        for name in [name for name in self._modules if top_of(name) in tops]:
            sys.modules.setdefault(name, self._modules.pop(name))
        return tops

    def _closure(self, top: str) -> set[str]:
        found, waiting = {top}, [top]
        while waiting:
            new = self._needs.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting.extend(new)
        if "tensorflow" not in found:
            return found
        # TensorFlow loads some of its parts by other means than an import statement: give everything.
        return found | {top_of(name) for name in self._modules} - set(OURS)


@contextmanager
def as_before(hidden: Hidden, path: Sequence[str]) -> Iterator[None]:
    """While inside, modules of ours are imported as at the start of the interpreter, whose ``sys.path`` was ``path``:
    the program may have packages of their names by now, and modules of the names of those that ours need."""
    before = frozenset(sys.modules)
    shows = OURS[0] in hidden
    theirs = hidden.show(OURS) if shows else {}
    added = [entry for entry in sys.path if entry not in path]
    sys.path[:0] = path  # in front of the program's entries, which another thread may need meanwhile
    try:
        yield
    finally:
        del sys.path[: len(path)]
        if shows:
            hidden.hide(OURS)
        sys.modules.update(theirs)
        forget_shadowed(added, before)


def forget_shadowed(entries: Iterable[str], before: Iterable[str]) -> None:
    """Lets the program have its own modules in these entries of its ``sys.path``, where we have imported another one of
    that name since only ``before`` were there."""
    tops = shadowed(entries, {top_of(name) for name in {*sys.modules} - {*before}})
    for name in [name for name in sys.modules if top_of(name) in tops]:
        del sys.modules[name]


class Finder:
    """Answers for hidden packages and for ours; to be the first in ``sys.meta_path``.

    ``check`` is called before anything is given back, with the name of a module that another would be found for, or
    None; it does not return when the program has to be started over. ``given`` is called after that, with the names of
    the packages.
    """

    def __init__(
        self,
        hidden: Hidden,
        check: Callable[[str | None], None] = lambda other: None,
        given: Callable[[set[str]], None] = lambda tops: None,
    ) -> None:
        self._hidden = hidden
        self._check = check
        self._given = given

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Spec | None:
        if fullname in OURS:
            return self._find_ours(fullname)
        if path is not None or fullname not in self._hidden:
            return None
        return _spec_of(self, fullname, self._hidden[fullname])

    def _find_ours(self, name: str) -> Spec | None:
        other = find_users_own(name, [finder for finder in sys.meta_path if finder is not self])
        if other is not None:
            return other
        if name in self._hidden:
            return _spec_of(self, name, self._hidden[name])
        return importlib.machinery.PathFinder.find_spec(name, [ROOT])

    def load(self, name: str) -> ModuleType:
        """What ``import name`` gives: the hidden module, and with it in ``sys.modules`` what it had imported."""
        module = self._hidden[name]
        moved = name not in OURS and not is_where_found(module, self._ask_others(name))
        self._check(name if moved else None)
        tops = self._hidden.give_back(name)
        self._given(tops)
        return module

    def _ask_others(self, name: str) -> Spec | None:
        return _ask([finder for finder in sys.meta_path if finder is not self], name)


class _Loaded:
    """'Loads' a module that is there: importlib sets ``__spec__``, so the original is put back."""

    def __init__(self, finder: Finder, original: Spec | None) -> None:
        self._finder = finder
        self._original = original

    def create_module(self, spec: Spec) -> ModuleType:
        return self._finder.load(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._original

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_original"].loader, name)


def _spec_of(finder: Finder, name: str, module: ModuleType) -> Spec:
    """A copy of the module's own spec, which whoever only asks for it may read, with our loader."""
    original = getattr(module, "__spec__", None)
    loader: Any = _Loaded(finder, original)
    spec = Spec(name, loader, origin=original.origin if original else None)
    if original is not None:
        spec.submodule_search_locations = original.submodule_search_locations
        spec.has_location = original.has_location
    return spec


def _ask(finders: Iterable[Any], name: str) -> Spec | None:
    for finder in finders:
        spec: Spec | None = finder.find_spec(name, None, None)
        if spec is not None:
            return spec
    return None


def is_where_found(module: ModuleType, spec: Spec | None) -> bool:
    """Whether an import that finds ``spec`` would have led to ``module``. Namespace packages have no one place."""
    known = getattr(module, "__spec__", None)
    if spec is None or known is None or not (spec.has_location and known.has_location):
        return True
    return bool(spec.origin == known.origin)


def find_users_own(name: str, finders: Iterable[Any]) -> Spec | None:
    """The user's package of the name of one of ours, a namespace package too; None if there is no such thing."""
    path = [entry for entry in sys.path if not _is_ours(entry)]
    for finder in finders:
        by_path = finder is importlib.machinery.PathFinder
        spec: Spec | None = finder.find_spec(name, path if by_path else None, None)
        if spec is not None and not any(_is_ours(os.path.dirname(place)) for place in _places(spec)):  # noqa: PTH120
            return spec
    return None


def _is_ours(entry: str) -> bool:
    return os.path.isfile(os.path.join(entry, _MARK))  # noqa: PTH113, PTH118


def _places(spec: Spec) -> list[str]:
    if spec.submodule_search_locations is not None:
        return list(spec.submodule_search_locations)
    return [spec.origin or ""]


def shadowed(entries: Iterable[str], names: Iterable[str]) -> set[str]:
    """Those of ``names``, but for ours, for which these entries of ``sys.path`` hold a module."""
    wanted, found = set(names) - set(OURS), set()
    for entry in entries:
        folder = entry or os.getcwd()  # noqa: PTH109
        present = {top_of(item) for item in os.listdir(folder)} if os.path.isdir(folder) else set()  # noqa: PTH112, PTH208
        for name in wanted & present:
            spec = importlib.machinery.PathFinder.find_spec(name, [folder])
            if spec is not None and spec.has_location:
                found.add(name)
    return found
