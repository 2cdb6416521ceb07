"""What drills came to: a line of JSON for each, in a file that is named after commit and seed."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "soak-results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """``faults`` as tests note them: ``kill worker:1``; of hosts with ``host:`` in front."""

    number: int
    kind: str
    passed: bool
    seconds: float
    faults: tuple[str, ...]


def commit() -> str:
    """The one that is checked out, with ``+`` if something is changed."""
    shown = _git("rev-parse", "--short=12", "HEAD")
    return f"{shown}+" if _git("status", "--porcelain", "--untracked-files=no") else shown


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def file_of(seed: int) -> Path:
    return FOLDER / f"{commit()}-{seed}.jsonl"


def read(file: Path) -> Iterator[Result]:
    if file.exists():
        for line in file.read_text().splitlines():
            values = json.loads(line)
            yield Result(**{**values, "faults": tuple(values["faults"])})


def add(file: Path, result: Result) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps(asdict(result)) + "\n")


def table(results: Iterable[Result]) -> Iterator[str]:
    """In Markdown: drills, what was wrong, and how often each fault came, by kind of drill."""
    drills, wrong, faults = Counter[str](), Counter[str](), defaultdict[str, Counter[str]](Counter)
    for result in results:
        drills[result.kind] += 1
        wrong[result.kind] += not result.passed
        faults[result.kind].update(map(_sort_of, result.faults))
    yield "| drills | how many | wrong | faults |"
    yield "|---|---:|---:|---|"
    for kind in sorted(drills):
        told = ", ".join(f"{name} {count}" for name, count in sorted(faults[kind].items()))
        yield f"| {kind} | {drills[kind]} | {wrong[kind]} | {told} |"


def _sort_of(fault: str) -> str:
    """``kill worker:1`` is a kill of a worker, ``cut both ways b for 3.1 s`` one of both ways, ``scale 3`` a scale."""
    words = fault.removeprefix("host: ").partition(" for ")[0].split()
    kept = [word.partition(":")[0] for word in words if word not in ("a", "b", "c") and not word.isdigit()]
    return " ".join(kept)
