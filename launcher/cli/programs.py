"""Whether the program of a plan is there and can be read, as far as this machine knows: better said now than by five
processes. Nothing of it is imported or run."""

from __future__ import annotations

import shutil
import sys
import warnings
import zipfile
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from launcher.plan.model import Plan, PlannedTask
from launcher.spec.texts import did_you_mean
from launcher.wire.errors import UsageError

_UNKNOWN = ModuleSpec("", None)  # only the task can tell


def check_program(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raises UsageError for a program, script or module that is not there, or that Python does not understand."""
    if not plan.hosts[0].traits.shares_files:
        return
    seen: set[tuple[str, ...]] = set()
    for planned in plan.tasks:
        command = (planned.cwd, *(planned.program[:2] or planned.argv[:1]))
        if command not in seen:
            seen.add(command)
            _check(planned, environ)


def _check(planned: PlannedTask, environ: Mapping[str, str]) -> None:
    folder, program = Path(planned.cwd).expanduser(), planned.program
    if not program:
        _check_on_path(planned.argv[0], folder, planned.env.get("PATH") or environ.get("PATH"))
    elif program[0] == "-m":
        if _has_our_path(planned):
            _check_module(program[1], folder)
    elif not program[0].startswith("-"):
        _check_script(program[0], folder)
        if planned.python[0] == sys.executable:
            _check_syntax(folder / program[0])


def _check_on_path(program: str, folder: Path, search: str | None) -> None:
    if "/" in program:
        if not (folder / Path(program).expanduser()).exists():
            raise UsageError(f"there is no program {program} (from {folder})")
    elif shutil.which(program, path=search) is None:
        near = did_you_mean(program, ("python", "python3", "bash", "env"))
        raise UsageError(f"there is no program {program!r} on the PATH{near}")


def _check_script(program: str, folder: Path) -> None:
    """Python also runs a folder, or an archive, that holds ``__main__.py``."""
    script = folder / program
    if not script.exists():
        raise UsageError(f"there is no script {program} in {folder}")
    if script.is_dir() and not (script / "__main__.py").is_file():
        raise UsageError(f"{program} in {folder} is a folder without __main__.py; name a script")


def _check_syntax(script: Path) -> None:
    """What another Python would understand is not judged, nor what is no source."""
    path = script / "__main__.py" if script.is_dir() else script
    try:
        if path.suffix == ".pyc" or zipfile.is_zipfile(path):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise UsageError(f"{path}{line}: Python does not understand the program: {error.msg}") from error
    except (OSError, ValueError, RecursionError, MemoryError):  # the task will say, or not mind
        return


# --- modules -----------------------------------------------------------------------------------------------------


def _has_our_path(planned: PlannedTask) -> bool:
    """Whether its modules are looked for where this Python looks for them, and in the folder in which it works."""
    return planned.python == (sys.executable,) and not any(name.startswith("PYTHON") for name in planned.env)


def _check_module(name: str, folder: Path) -> None:
    top, *parts = name.split(".")
    found = PathFinder.find_spec(top, [str(folder), *sys.path]) or _by_other_finders(top)
    for part in parts:
        found = _inside(found, part)
    if found is not None and found.submodule_search_locations is not None:
        found = _inside(found, "__main__")
    if found is None:
        raise UsageError(f"there is no module {name} that could be run, neither in {folder} nor installed")
    if found.origin is not None and found.origin.endswith(".py"):
        _check_syntax(Path(found.origin))


def _by_other_finders(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return _UNKNOWN


def _inside(package: ModuleSpec | None, name: str) -> ModuleSpec | None:
    """A module of a package, which may look for its modules elsewhere once it is imported."""
    if package is None or package is _UNKNOWN:
        return package
    if package.submodule_search_locations is None:
        return None
    found = PathFinder.find_spec(name, list(package.submodule_search_locations))
    return found or (_UNKNOWN if _changes_its_path(package) else None)


def _changes_its_path(package: ModuleSpec) -> bool:
    try:
        return package.origin is not None and b"__path__" in Path(package.origin).read_bytes()
    except OSError:
        return True
