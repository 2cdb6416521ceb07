"""Whether the tasks' Python and program work on a host. Rules as in ``host_rules``. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from launcher.doctor.facts import TaskPython
from launcher.doctor.findings import Level
from launcher.doctor.host_rules import Facts, Verdict, ok
from launcher.doctor.wanted import Wanted

_DEPLOY = "tflaunch deploy SPEC"


def requirements(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the environment that is to be deployed has what an Estimator needs, as far as its files say."""
    if wanted.lacks:
        yield Level.WARNING, "incomplete", wanted.lacks, f"name it there, then {_DEPLOY}"
    else:
        yield Level.SKIPPED, "", "", ""


def imports(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the tasks' Python can import what they are forked from."""
    for found in facts[host].pythons:
        yield _import(found, wanted)
    if not facts[host].pythons:
        yield Level.SKIPPED, "", "", ""


def _import(found: TaskPython, wanted: Wanted) -> Verdict:
    advice = f"bring the environment there: {_DEPLOY}" if wanted.deploys else "say where its Python is: python.path"
    if found.start_problem:
        return Level.FAILED, "no Python", f"cannot run {found.python}: {found.start_problem}", advice
    if found.version is None:
        return Level.FAILED, "no Python", f"{found.python} does not work: {_said(found)}", advice
    if found.import_s is None:
        return Level.FAILED, "fails", f"{found.python}: {_said(found)}", _import_advice(found, wanted)
    if found.tensorflow and found.estimator_problem:
        message = f"{found.python}: tf.estimator does not work: {found.estimator_problem}"
        packages = "tensorflow-estimator==2.15.0 tf-keras"
        if found.python in wanted.deployed:
            return Level.WARNING, "no Estimator", message, f"name {packages} in python.requirements, then {_DEPLOY}"
        return Level.WARNING, "no Estimator", message, f"pip install {packages} there"
    return ok(f"{found.import_s:.1f} s")


def _said(found: TaskPython) -> str:
    if found.exit is not None and found.exit < 0:
        return f"killed by {_signal(-found.exit)}" + (f" ({found.last_words})" if found.last_words else "")
    return found.last_words or f"it ended with {found.exit}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _import_advice(found: TaskPython, wanted: Wanted) -> str:
    if found.exit == -signal.SIGILL:
        return "this build of TensorFlow needs instructions (AVX) that the CPU has not: install another build"
    if found.exit == -signal.SIGKILL:
        return "is there too little memory on the host, or in its control group?"
    if found.exit is None:
        return "is the file system that Python lives on slow? Allow more: --timeout-s"
    if "No module named" in found.last_words:
        if found.python in wanted.deployed:
            return f"name it in python.requirements, and bring the environment again: {_DEPLOY}"
        return (
            f"install it there: {_DEPLOY}" if wanted.deploys else "install it into that Python, or correct python.path"
        )
    return f"see the whole error there: {found.python} -c 'import tensorflow'"


def command(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the tasks' folder and their program are there."""
    seen = set()
    bring = f"{_DEPLOY} brings the code" if wanted.deploys else "copy the code there, or correct cwd and command"
    for found in facts[host].pythons:
        if (found.folder, found.program) in seen:
            continue
        seen.add((found.folder, found.program))
        if found.folder_problem:
            yield Level.FAILED, "no folder", f"the tasks' folder {found.folder}: {found.folder_problem}", bring
        elif found.program_found is False and found.version is not None:
            yield Level.FAILED, "not there", f"there is no {found.program} in {found.folder}", bring
        else:
            yield ok("there" if found.program_found else "")
    if not seen:
        yield Level.SKIPPED, "", "", ""
