"""Builds the library: ``build.py`` for this machine with cc, ``build.py --all`` for every kind with PyPI's ziglang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
MACHINES = ("x86_64", "aarch64")
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-s")
_LIBRARIES = ("-lpthread", "-ldl")  # where the C library is older than 2.34


class BuildError(Exception):
    """The library could not be built; the text says why."""


def build(compiler: Sequence[str], target: Path) -> None:
    """Compiles the library into ``target``, which appears when it is whole; raises BuildError. Blocks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".guard-", dir=target.parent) as draft:
        made = Path(draft) / target.name
        sources = sorted(map(str, HERE.glob("*.c")))
        command = [*compiler, *_FLAGS, "-o", str(made), *sources, *_LIBRARIES]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            made.rename(target)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{error}\n{getattr(error, 'stderr', None) or ''}".strip()) from error


def name(machine: str) -> str:
    """The name of the library's file for machines of that kind."""
    return f"guard-{machine}.so"


def main(arguments: Sequence[str]) -> int:
    """Builds into this folder; returns the exit code."""
    cc = shutil.which("cc")
    try:
        if "--all" in arguments:
            for machine in MACHINES:
                zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.2.17"]
                build(zig, HERE / name(machine))
        elif cc:
            build([cc], HERE / name(os.uname().machine))
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
