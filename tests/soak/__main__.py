"""Drills with random faults, one after the other, until the time is over: ``python -m tests.soak --seconds 3600``.

Which one a number is, and what it does, is drawn by the seed, which is printed. What passed with this commit and seed
is not done again: the same command goes on where it was. ``--only NUMBER`` repeats one; ``--table`` adds up all
results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.hosts.namespaces import missing
from tests.soak import kinds, results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="after which no drill is begun any more")
    parser.add_argument("--seed", type=int, help="drawn by itself if it is not given")
    parser.add_argument("--only", type=int, help="the one drill of that number")
    parser.add_argument("--kinds", default="", help=f"of {', '.join(kinds.KINDS)}; separated by commas")
    parser.add_argument("--table", action="store_true", help="all results so far, and no drill")
    options = parser.parse_args()
    if options.table:
        files = sorted(results.FOLDER.glob("*.jsonl"))
        print("\n".join(results.table(result for file in files for result in results.read(file))))
        return 0
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(2), "big")
    among = _among(options.kinds)
    print(f"seed {seed}, commit {results.commit()}: {results.file_of(seed)}", flush=True)
    if options.only is not None:
        return 0 if drill(seed, options.only, among) else 1
    return until_over(seed, among, time.monotonic() + options.seconds)


def _among(wanted: str) -> dict[str, kinds.Kind]:
    """The kinds that can be had here."""
    names = [name for name in kinds.KINDS if not wanted or name in wanted.split(",")]
    if lacking := missing():
        print(f"without drills over hosts: {lacking}", flush=True)
        names = [name for name in names if name not in kinds.ROOT_NEEDED]
    return {name: kinds.KINDS[name] for name in names}


def until_over(seed: int, among: dict[str, kinds.Kind], end: float) -> int:
    done = {result.number for result in results.read(results.file_of(seed)) if result.passed}
    number, failed = 0, []
    while time.monotonic() < end:
        if number not in done and not drill(seed, number, among):
            failed.append(number)
        number += 1
    print(f"seed {seed}: {number} drills, {len(failed)} wrong {failed or ''}")
    return 1 if failed else 0


def drill(seed: int, number: int, among: dict[str, kinds.Kind]) -> bool:
    """Does it in a process of its own, and writes down what came of it."""
    kind = kinds.drawn(seed, number, among)
    file, began = results.file_of(seed), time.monotonic()
    place = Path(tempfile.gettempdir(), f"tfl-soak-{seed}-{number}")
    facts = place.with_suffix(".facts")
    facts.write_text("")
    node = kinds.KINDS[kind].test(number)
    argv = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", "-m", "soak", node]
    done = subprocess.run(
        [*argv, "-o", "tmp_path_retention_policy=failed", f"--basetemp={place}"],
        cwd=results.ROOT,
        env={**os.environ, **kinds.environment(seed, number, kind, str(facts)), "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = done.returncode == 0
    told = facts.read_text().splitlines()
    facts.unlink()
    result = results.Result(
        number=number, kind=kind, passed=passed, seconds=round(time.monotonic() - began, 1), faults=tuple(told)
    )
    results.add(file, result)
    print(f"{number} {kind}: {'passed' if passed else 'WRONG'} in {result.seconds} s, {', '.join(told)}", flush=True)
    if passed:
        _remove(place)
    else:
        print(f"{done.stdout[-8000:]}\nwhat is left of it: {place}", flush=True)
        print(f"to repeat it: make soak SOAK_SEED={seed} SOAK_ONLY={number}", flush=True)
    return passed


def _remove(place: Path) -> None:
    subprocess.run(["rm", "-rf", str(place)], check=False)


if __name__ == "__main__":
    sys.exit(main())
