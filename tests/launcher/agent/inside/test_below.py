"""Python programs that a task has started, with a ``tensorflow`` that is a module of two lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.agent.inside.below import path
from launcher.wire.adjustments import DEFAULT
from launcher.wire.variables import RUN_VARIABLE, TASK_SOCKET_VARIABLE, TASK_VARIABLE, TUNE_VARIABLE

SHOW = """
import os, sys
import tensorflow
from launcher.estimator.adjustments import adjust
print(sorted(adjust._made), os.environ.get("TF_USE_LEGACY_KERAS"))
"""
LIBRARY_FIRST = f"import launcher.estimator\n{SHOW}"
AGAIN = "import subprocess, sys; subprocess.run([sys.executable, '-c', open('show.py').read()], check=True)"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("estimator = None\n")
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "library_first.py").write_text(LIBRARY_FIRST)
    (tmp_path / "again.py").write_text(f"import tensorflow\n{AGAIN}\n")
    (tmp_path / "wrapper.py").write_text(f"{AGAIN}\n")
    (tmp_path / "exec.py").write_text(
        "import os, sys\nimport tensorflow\nos.execv(sys.executable, [sys.executable, 'show.py'])\n"
    )
    return tmp_path


def run(place: Path, *argv: str, **more: str) -> str:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "TFLAUNCH_"))},
        RUN_VARIABLE: "r",
        TASK_VARIABLE: "worker:0",
        TASK_SOCKET_VARIABLE: str(place / "nobody"),
        TUNE_VARIABLE: ",".join(sorted(DEFAULT)),
        "PYTHONPATH": str(place),
        **more,
    }
    path.lead(environ)
    done = subprocess.run(argv, cwd=place, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def adjusted(names: set[str]) -> str:
    return f"{sorted(names)} 1"


EXPECTED = DEFAULT - {"session-close"}


@pytest.mark.parametrize(
    "argv",
    [("show.py",), ("library_first.py",), ("wrapper.py",), ("exec.py",)],
    ids=["first", "our library before it", "below a wrapper", "the same process"],
)
def test_the_first_that_imports_tensorflow_is_adjusted(place: Path, argv: tuple[str, ...]) -> None:
    assert run(place, sys.executable, *argv, TFLAUNCH_LEGACY_KERAS="on") == adjusted({*EXPECTED})


def test_what_it_starts_has_the_keras_and_no_adjustments(place: Path) -> None:
    assert run(place, sys.executable, "again.py", TFLAUNCH_LEGACY_KERAS="on") == adjusted(set())


def test_outside_of_a_run_nothing_happens(place: Path) -> None:
    program = "import sys, tensorflow; print('launcher' in sys.modules)"
    assert run(place, sys.executable, "-c", program, **{RUN_VARIABLE: ""}) == "False"


def test_the_users_sitecustomize_runs_and_the_search_path_is_the_users(place: Path) -> None:
    (place / "sitecustomize.py").write_text("import sys; sys.mine = __file__\n")
    program = "import sitecustomize, sys; print(sys.mine, sitecustomize.__file__, sys.path[-1])"
    mine = str(place / "sitecustomize.py")
    assert run(place, sys.executable, "-c", program).startswith(f"{mine} {mine} ")


def test_a_users_sitecustomize_that_fails_is_told_as_python_does(place: Path) -> None:
    (place / "sitecustomize.py").write_text("import no_such_module\n")
    environ = {**os.environ, RUN_VARIABLE: "r", "PYTHONPATH": str(place)}
    path.lead(environ)
    done = subprocess.run(
        [sys.executable, "-c", ""], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Error in sitecustomize" in done.stderr and "no_such_module" in done.stderr


def test_a_users_package_of_our_name_wins(place: Path) -> None:
    (place / "launcher").mkdir()
    (place / "launcher" / "__init__.py").write_text("mine = True\n")
    program = "import launcher; import tensorflow; import launcher as after; print(launcher.mine, after.mine)"
    assert run(place, sys.executable, "-c", program) == "True True"


def test_leading_twice_is_leading_once() -> None:
    environ = {"PYTHONPATH": "/a::/b"}
    path.lead(environ)
    once = dict(environ)
    path.lead(environ)
    assert environ == once
    assert environ["PYTHONPATH"].endswith("/launcher/agent/inside/below:/a:/b")
