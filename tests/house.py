"""Measures the house: entries, files of a folder, lines of a module and of a function, over launcher/ and jobs/.

``make lint`` runs it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_ENTRIES, MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 20, 15, 300, 50


def modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for room in ("launcher", "jobs") for path in (ROOT / room).rglob("*.py"))


def long_modules() -> set[str]:
    return {str(path) for path in modules() if len((ROOT / path).read_text().splitlines()) > MOST_LINES}


def long_functions() -> Iterator[str]:
    """From ``def`` to the last line."""
    for path in modules():
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    yield f"{path}:{node.lineno}: {node.name} has {lines} lines; at most {MOST_FUNCTION_LINES}"


def full_folders() -> Iterator[str]:
    counts = Counter(path.parent for path in modules())
    full = {folder: count for folder, count in counts.items() if count > MOST_FILES}
    yield from (f"{folder}/ has {count} files; at most {MOST_FILES}" for folder, count in full.items())
    entries = [path for path in (ROOT / "launcher").iterdir() if path.name != "__pycache__"]
    if len(entries) > MOST_ENTRIES:
        yield f"launcher/ has {len(entries)} entries; at most {MOST_ENTRIES}"
    loose = {path.name for path in entries if path.is_file()} - {"__init__.py", "__main__.py", "py.typed"}
    yield from (f"launcher/{name}: put it into a room" for name in sorted(loose))


def breaches() -> Iterator[str]:
    long = long_modules()
    yield from (f"{name} has more than {MOST_LINES} lines: look for the seam" for name in sorted(long))
    yield from long_functions()
    yield from full_folders()


if __name__ == "__main__":
    found = list(breaches())
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)
