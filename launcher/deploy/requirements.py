"""Requirements files with what they refer to, so that they can be read anywhere."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement

from launcher.wire.errors import UsageError

FIRST = "requirements.txt"
_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel")
_KERAS_3 = tuple(f"2.{minor}.{patch}" for minor in range(16, 22) for patch in range(3))  # releases of it
_BESIDE = {"tensorflow-estimator": "tensorflow-estimator==2.15.0", "tf-keras": "tf-keras"}
_REFERS = re.compile(r"^\s*(-r|--requirement|-c|--constraint)[\s=]*(\S+)\s*(#.*)?$")
_LOCAL = re.compile(r"^\s*((-e|--editable|-f|--find-links)\b|\.{0,2}/|\S+\s*@\s*file:|file:)")


def read_requirements(path: Path) -> Mapping[str, str]:
    """Texts by the names they have on hosts: ``requirements.txt`` is ``path``, and ``-r`` and ``-c`` lines name the
    others. Raises UsageError for what cannot be read, and for paths, which hosts do not have."""
    files: dict[Path, str] = {}
    texts: dict[str, str] = {}
    _read(path.resolve(), files, texts, f"python.requirements: {path}")
    return MappingProxyType(texts)


def missing_beside_tensorflow(files: Mapping[str, str]) -> str:
    """What an Estimator needs from TensorFlow 2.16 on, where the requirements leave it to chance: in words for the
    user; empty where nothing is missing. tflaunch itself brings all of it."""
    named = {wanted.name.lower().replace("_", "-"): wanted for text in files.values() for wanted in _named(text)}
    tensorflow = next((wanted for name, wanted in named.items() if name in _TENSORFLOWS), None)
    if tensorflow is None or "tflaunch" in named or not any(tensorflow.specifier.contains(v) for v in _KERAS_3):
        return ""
    missing = [text for name, text in _BESIDE.items() if name not in named]
    if not missing:
        return ""
    return (
        f"python.requirements: names {tensorflow} without {' and '.join(missing)}, which an Estimator needs from "
        "TensorFlow 2.16 on"
    )


def _named(text: str) -> Iterator[Requirement]:
    for line in text.splitlines():
        with contextlib.suppress(InvalidRequirement):  # pip says what it cannot read
            yield Requirement(line.partition(" #")[0].partition(" --")[0].rstrip("\\ "))


def _read(path: Path, names: dict[Path, str], texts: dict[str, str], where: str) -> str:
    """Reads a file, unless it was; gives its name on hosts."""
    if path in names:
        return names[path]
    names[path] = name = f"requirements-{len(names)}.txt" if names else FIRST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: {getattr(error, 'strerror', None) or error}") from error
    made = []
    for number, line in enumerate(lines, 1):
        if _LOCAL.match(line):
            raise UsageError(f"{path}:{number}: hosts have no such path: {line.strip()}; code of your own goes by sync")
        if refers := _REFERS.match(line):
            other = _read((path.parent / refers[2]).resolve(), names, texts, f"{path}:{number}: {refers[2]}")
            line = f"{refers[1]} {other}"
        made.append(line)
    texts[name] = "\n".join(made) + "\n"
    return name
