"""Wheels for hosts without a package index, downloaded where the launcher runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.deploy.requirements import FIRST
from launcher.wire.errors import EXIT_HOST, TflaunchError

_OLDEST_MANYLINUX = 5
_MARK = ".complete-"


class WheelError(TflaunchError):
    """The wheels are not to be had."""

    exit_code = EXIT_HOST


@dataclass(frozen=True, slots=True)
class Target:
    """The Python that the wheels are for: its version, the machine, and the version of the C library, (0, 0) if it is
    not glibc."""

    python: tuple[int, int]
    machine: str
    glibc: tuple[int, int]

    @property
    def flags(self) -> tuple[str, ...]:
        """What tells ``pip download`` about it."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc[1], _OLDEST_MANYLINUX - 1, -1)]
        names += [f"manylinux{alias}_{self.machine}" for alias in ("2014", "2010", "1")] if names else []
        platforms = [word for name in (*names, f"linux_{self.machine}") for word in ("--platform", name)]
        version = "{}.{}".format(*self.python)
        return ("--python-version", version, "--implementation", "cp", *platforms, "--only-binary=:all:")


def target_of(facts: Mapping[str, object]) -> Target:
    """The target that a host's facts describe."""
    python, libc = facts["python"], facts["libc"]
    assert isinstance(python, list) and isinstance(libc, list)
    numbers = [int(word) for word in str(libc[1]).split(".")[:2] if word.isdigit()]
    glibc = (numbers[0], numbers[1]) if libc[0] == "glibc" and len(numbers) == 2 else (0, 0)
    return Target((python[0], python[1]), str(facts["machine"]), glibc)


def fill_wheelhouse(folder: Path, files: Mapping[str, str], target: Target, say: Callable[[str], None]) -> None:
    """Sees that the folder has wheels of everything that is required: what is missing is downloaded. No
    index is asked when they are there. Raises WheelError with pip's last line."""
    about = json.dumps([sorted(files.items()), target.python, target.machine, target.glibc])
    mark = folder / f"{_MARK}{hashlib.sha256(about.encode()).hexdigest()[:16]}"
    if mark.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tflaunch-") as work:
        for name, text in files.items():
            (Path(work) / name).write_text(text, encoding="utf-8")
        wanted = ("--dest", str(folder), "--find-links", str(folder), *target.flags, "-r", str(Path(work) / FIRST))
        if any(folder.glob("*.whl")) and _pip(("download", "--no-index", *wanted))[0] == 0:
            say("the wheelhouse has everything")
        else:
            say(f"downloading wheels into {folder}")
            code, last = _pip(("download", *wanted))
            if code:
                raise WheelError(f"python.wheelhouse: pip cannot download what {FIRST} asks for: {last}")
    mark.touch()


def _pip(arguments: Sequence[str]) -> tuple[int, str]:
    """Its exit code, and the line that says most about it."""
    command = [sys.executable, *_pip_program(), *arguments, "--disable-pip-version-check", "--no-input", "-q"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in said if line.startswith("ERROR:")]
    return done.returncode, (errors or said or [""])[-1]


def _pip_program() -> tuple[str, ...]:
    """pip as it is installed, else the one that came with this Python: uv, for one, makes environments without."""
    if importlib.util.find_spec("pip") is not None:
        return ("-m", "pip")
    bundled = importlib.util.find_spec("ensurepip")
    places = sorted(Path(str(bundled.origin)).parent.glob("_bundled/pip-*.whl")) if bundled is not None else []
    if not places:
        raise WheelError(f"python.wheelhouse: there is no pip to fill it: {sys.executable} -m ensurepip installs it")
    return (str(places[-1] / "pip"),)
