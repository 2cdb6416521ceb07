"""Builds the library: ``build.py`` for this machine with cc, ``build.py --all`` for every kind with PyPI's ziglang."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launcher.agent.inside.guard import library

HERE = Path(__file__).parent
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-s")
_LIBRARIES = ("-lpthread", "-ldl")  # where the C library is older than 2.34


class BuildError(Exception):
    """The library could not be built; the text says why."""


def build(compiler: Sequence[str], target: Path) -> None:
    """Compiles the library into ``target``, which appears when it is whole; raises BuildError. Blocks."""
    sources = sorted(map(str, HERE.glob("*.c")))
    try:
        with tempfile.TemporaryDirectory(prefix=".guard-", dir=target.parent) as draft:
            made = Path(draft) / target.name
            command = [*compiler, *_FLAGS, "-o", str(made), *sources, *_LIBRARIES]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            made.rename(target)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{error}\n{getattr(error, 'stderr', None) or ''}".strip()) from error


def ensure() -> None:
    """In a checkout: builds the library for this machine if it is missing or older than its sources, and cc is there.
    Without it the run says that its ports are open."""
    if not (HERE.parents[3] / "pyproject.toml").exists():
        return
    target, cc = Path(library.path()), shutil.which("cc")
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    if cc and not (target.exists() and target.stat().st_mtime >= newest):
        with contextlib.suppress(BuildError):
            build([cc], target)


def main(arguments: Sequence[str]) -> int:
    """Builds into this folder; returns the exit code."""
    try:
        for machine in library.MACHINES if "--all" in arguments else ():
            zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.2.17"]
            build(zig, HERE / library.name(machine))
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    ensure()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
