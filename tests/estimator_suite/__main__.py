"""``python -m tests.estimator_suite SUITE``: which tests of tf.estimator pass on TensorFlow 2.15 and not here.

Each file runs in a process of its own, in an empty folder: here as a user's program that imports
``launcher.estimator``, there as it is. Ends with 1 if a difference is not in ``expected.py``, or if one there is none
any more. The results are kept in ``--results``; what is there already is not run again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.estimator_suite.expected import EXPECTED

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("program.py")
INSIDE = "tensorflow_estimator/python/estimator"  # of the suite, where the data of its tests is
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
FILE_TIMEOUT_S = 3600

Outcomes = Mapping[str, str]  # of tests, by FILE::CLASS.NAME


@dataclass(frozen=True, kw_only=True)
class Version:
    """One TensorFlow. ``command``: what a file of the suite is appended to."""

    name: str
    command: tuple[str, ...]


def main() -> int:
    given = _arguments()
    versions = (
        Version(name="newest", command=(sys.executable, str(PROGRAM))),
        Version(name="legacy", command=(str(given.legacy_python.absolute()),)),
    )
    began = time.monotonic()
    suite = given.suite.resolve()
    files = sorted((suite / INSIDE).rglob("*_test.py"), key=lambda path: -path.stat().st_size)
    wanted = [path for path in files if given.only in str(path)]
    if not wanted:
        raise SystemExit(f"{suite} has no test files of tf.estimator; see CONTRIBUTING.md for how to get them")
    results = given.results or Path(tempfile.mkdtemp(prefix="estimator-suite-"))
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = [pool.map(partial(_outcomes, version, suite, results), wanted) for version in versions]
        newest, legacy = ({test: end for part in run for test, end in part.items()} for run in runs)
    for version, outcomes in zip(versions, (newest, legacy), strict=True):
        print(f"{version.name}: {dict(Counter(outcomes.values()))} of {len(outcomes)} tests in {len(wanted)} files")
    print(f"took {(time.monotonic() - began) / 60:.0f} minutes with {given.jobs} at a time; results in {results}")
    return _judge(_differences(newest, legacy), given.only)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path, help="a checkout of tensorflow/estimator, branch r2.15")
    parser.add_argument("--legacy-python", type=Path, default=ROOT / ".venv-tf2.15" / "bin" / "python")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--results", type=Path, help="where results are kept, and looked for")
    return parser.parse_args()


def _outcomes(version: Version, suite: Path, results: Path, path: Path) -> dict[str, str]:
    """What became of the tests of a file; none where it does not end properly."""
    name = str(path.relative_to(suite / INSIDE))
    report = results.resolve() / version.name / f"{name}.xml"
    if not report.exists():
        _run(version, path, suite, report)
    try:
        cases = ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return {}
    return {f"{name}::{_name(case)}": _end(case) for case in cases}


def _name(case: ElementTree.Element) -> str:
    """Class and name, without what differs from one process to the next or is where Keras is."""
    text = f"{case.get('classname')}.{case.get('name')}".removeprefix("__main__.")
    return re.sub(r" at 0x[0-9a-f]+", "", text.replace("tf_keras.", "keras."))


def _end(case: ElementTree.Element) -> str:
    if any(child.tag in ("failure", "error") for child in case):
        return FAILED
    return PASSED if case.get("status") == "run" and case.get("result") == "completed" else SKIPPED


def _run(version: Version, path: Path, suite: Path, report: Path) -> None:
    report.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, report.with_suffix(".log").open("wb") as log:
        places = {"xml_output_file": f"{folder}/out.xml", "test_tmpdir": f"{folder}/tmp", "test_srcdir": suite / INSIDE}
        options = [f"--{name}={place}" for name, place in places.items()]
        Path(folder, "work").mkdir()
        environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
        try:
            subprocess.run(
                (*version.command, str(path), *options),
                cwd=f"{folder}/work",
                env=environ,
                stdout=log,
                stderr=log,
                timeout=FILE_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{version.name}: {path.name} has not ended in {FILE_TIMEOUT_S} s", file=sys.stderr)
        written = Path(folder, "out.xml")
        report.write_bytes(written.read_bytes() if written.exists() else b"")
    print(f"{version.name}: {path.name} ({time.monotonic() - began:.0f} s)", file=sys.stderr)


def _differences(newest: Outcomes, legacy: Outcomes) -> set[str]:
    return {test for test, end in legacy.items() if end == PASSED and newest.get(test) != PASSED}


def _judge(found: set[str], only: str) -> int:
    """0 if the differences are those that are expected."""
    known = {test for test in EXPECTED if only in test}
    for test in sorted(found & known):
        print(f"expected: {test}: {EXPECTED[test]}")
    for test in sorted(found - known):
        print(f"NOT EXPECTED, passes on 2.15 only: {test}")
    for test in sorted(known - found):
        print(f"EXPECTED, and no difference (any more): {test}")
    return int(found != known)


if __name__ == "__main__":
    sys.exit(main())
