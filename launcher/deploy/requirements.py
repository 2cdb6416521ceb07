"""Requirements files with what they refer to, so that they can be read anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from launcher.wire.errors import UsageError

FIRST = "requirements.txt"
_REFERS = re.compile(r"^\s*(-r|--requirement|-c|--constraint)[\s=]*(\S+)\s*(#.*)?$")
_LOCAL = re.compile(r"^\s*((-e|--editable|-f|--find-links)\b|\.{0,2}/|\S+\s*@\s*file:|file:)")


def read_requirements(path: Path) -> Mapping[str, str]:
    """Texts by the names they have on hosts: ``requirements.txt`` is ``path``, and ``-r`` and ``-c`` lines name the
    others. Raises UsageError for what cannot be read, and for paths, which hosts do not have."""
    files: dict[Path, str] = {}
    texts: dict[str, str] = {}
    _read(path.resolve(), files, texts, f"python.requirements: {path}")
    return MappingProxyType(texts)


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
