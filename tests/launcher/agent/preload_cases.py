"""The programs that have to behave as under plain python, however they are started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.launcher.agent.preload_driver import Ended

NATIVE = r".*\.cc:\d+\] |WARNING: All log messages before absl|To enable the following instructions"
PROGRAMS = Path(__file__).with_name("programs")
HOSTILE = (
    "",
    "a b",
    "'\"",
    "$(touch x)",
    "{1,2}",
    "line\nbreak",
    "grüße ✓",
    "\udcff",
    "-m",
    "--",
    "*",
    "\\",
    "x" * 9000,
)


@dataclass(frozen=True)
class Case:
    """A program; ``env`` is set on top of the common environment."""

    name: str
    program: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "."

    def __str__(self) -> str:
        return self.name


def cases() -> Iterator[Case]:
    yield Case("arguments", ("arguments.py", *HOSTILE))
    yield Case("arguments-absolute", (str(PROGRAMS / "arguments.py"),))
    yield Case("arguments-from-elsewhere", ("programs/arguments.py",), cwd="..")
    ways = ("nothing", "none", "zero", "three", "large", "negative", "text", "tuple", "bool", "os", "term", "kill")
    for way in (*ways, "int", "abort"):
        yield Case(f"exit-{way}", ("exits.py", way))
    kinds = ("plain", "cause", "context", "suppressed", "recursion", "library", "compiled", "importing", "interrupt")
    for kind in (*kinds, "base", "generator", "excepthook", "last", "unraisable"):
        yield Case(f"exception-{kind}", ("exceptions.py", kind))
    for method in ("fork", "spawn", "forkserver"):
        yield Case(f"pools-{method}", ("pools.py", method))
    for name in (
        "threads",
        "streams",
        "signals",
        "process",
        "at_exit",
        "pickles",
        "warned",
        "logs",
        "imports",
        "loops",
    ):
        yield Case(name, (f"{name}.py",))
    yield Case("broken-pipe", ("broken_pipe.py",))
    yield Case("late-shadow", ("late_shadow.py",))
    yield Case("children", ("children.py", "first"))
    yield Case("flags", ("flags.py", "--steps=3", "--names=a,b", "rest"))
    yield Case("flags-wrong", ("flags.py", "--steps=-3"))
    yield Case("flags-unknown", ("flags.py", "--stepz=3"))
    yield Case("flags-help", ("flags.py", "--help"))
    yield Case("clock", ("clock.py",), {"TZ": "Asia/Tokyo", "TMPDIR": str(PROGRAMS)})
    yield Case("streams-latin", ("streams.py",), {"PYTHONIOENCODING": "latin-1:replace"})
    yield Case("streams-unbuffered", ("streams.py",), {"PYTHONUNBUFFERED": "1"})
    yield Case("warned-all", ("warned.py",), {"PYTHONWARNINGS": "always"})
    yield Case("module-package", ("-m", "package", "x"))
    yield Case("module-inner", ("-m", "package.inner.tool", *HOSTILE))
    yield Case("module-missing", ("-m", "package.missing"))
    yield Case("module-not-a-program", ("-m", "package.inner"))
    yield Case("module-installed", ("-m", "json.tool", "--help"))
    yield Case("folder", ("folder", "x"))
    yield Case("folder-without-main", ("shadow", "x"))
    yield Case("own-packages", ("own/program.py",))
    yield Case("own-module", ("-m", "jobs.mine"), cwd="own")
    yield Case("own-namespace", ("-m", "jobs.train"), cwd="loose")
    yield Case("shadow", ("shadow/program.py",))
    yield Case("shadow-module", ("-m", "program"), cwd="shadow")
    yield Case("safe-path", ("-m", "package"), {"PYTHONSAFEPATH": "1"})
    yield Case("safe-script", ("arguments.py",), {"PYTHONSAFEPATH": "1"})
    yield Case("missing", ("missing.py", "x"))
    yield Case("code", ("-c", "import sys\nprint(sys.argv, sys.path[0], __name__, sorted(globals()))\n1/0", "x"))
    child = "multiprocessing.get_context('spawn').Process(target=exec, args=('import sys; print(sys.path)',))"
    yield Case("code-spawn", ("-c", f"import multiprocessing\nchild = {child}\nchild.start()\nchild.join()"))
    yield Case("code-wrong", ("-c", "print('never')\n1 +\n"))
    for name in (
        "wrong.py",
        "bad_encoding.py",
        "zero.py",
        "archive.pyz",
        "module.pyc",
        "bad.pyc",
        "latin.py",
        "bom.py",
    ):
        yield Case(f"made-{name}", (f"{{made}}/{name}", "x"))
    yield Case("made-link", ("{made}/link.py",))


TENSORFLOW_CASES = (
    Case("tf-script", ("tf_script.py", "--name=x", "rest")),
    Case("tf-early-environment", ("tf_early_environment.py",)),
)


def program_of(case: Case, made: Path) -> list[str]:
    return [word.replace("{made}", str(made)) for word in case.program]


def cwd_of(case: Case) -> str:
    return str((PROGRAMS / case.cwd).resolve())


def normal(ended: Ended) -> Ended:
    """Without what differs: addresses and identities of threads; how often exactly a program may recurse, since there
    are frames of ours below it; times in logs, and what TensorFlow's libraries print while they are loaded."""
    lines = [line for line in ended.output.splitlines(keepends=True) if not re.match(NATIVE, line)]
    output = re.sub(r"0x[0-9a-f]{6,}|\b1[34]\d{13}\b", "ADDRESS", "".join(lines))
    output = re.sub(r"(?m)^([IWE])\d{4} \S+ \S+ ", r"\1 ", output)
    return Ended(status=ended.status, output=re.sub(r"repeated 9\d\d more", "repeated 9xx more", output))
