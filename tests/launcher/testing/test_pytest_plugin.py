"""The pytest plugin, as a project of somebody else uses it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from tests.e2e.running import REPORT, alive, environment

ROOT = Path(__file__).parents[3]
FAKE = ROOT / "tests" / "e2e" / "fake_cluster.py"
CANNED = ROOT / "tests" / "e2e" / "canned.py"
HEAVY = (
    "tensorflow",
    "numpy",
    "rich",
    "click",
    "pydantic",
    "yaml",
    "psutil",
    "fabric",
    "asyncio",
    "launcher.testing.clusters",
)
GOOD = """[
    {script!r}, "ps=listen,ready,hang", "chief=gate,ready,step=10,finished=10,barrier,saved=10",
    "worker=gate,ready,step=9,finished=9", "evaluator=ready,drain",
]"""


def pytest_argv(*arguments: str) -> list[str]:
    """As with the entry point, also where this checkout was installed before it had one."""
    plugin = ("-p", "no:tflaunch", "-p", "launcher.testing.pytest_plugin", "-p", "no:cacheprovider")
    return [sys.executable, "-m", "pytest", *plugin, *arguments]


def run_tests(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    argv = pytest_argv("-q", "--basetemp", str(folder / "tmp"))
    return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, timeout=240)


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    check = "\n".join(
        (
            "import sys, pytest",
            "known = set(sys.modules)",
            "import launcher.testing.pytest_plugin",
            "new = set(sys.modules) - known",
            f"print(sorted(new & set({HEAVY!r})), len(new))",
        )
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    heavy, count = done.stdout.rsplit(maxsplit=1)
    assert heavy == "[]" and int(count) <= 5, done.stdout


@pytest.mark.e2e
def test_a_cluster_in_a_test(tmp_path: Path) -> None:
    text = f"""
def test_my_job(tflaunch):
    command = {GOOD.format(script=str(FAKE))}
    run = tflaunch(*command, workers=2, options=["--no-preload"], inject=["kill ps:0 at step 99"])
    assert run.succeeded and run.report["global_step"] == 10 and run.cause is None
    assert len(run.report["tasks"]) == 5
    assert run.task("worker:1")["state"] == "succeeded" and run.log("worker:1") == ""
    assert run.report["drills"][0]["at"] is None and (run.run_dir / "report.json").exists()
"""
    done = run_tests(tmp_path, text)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.e2e
def test_a_failed_test_shows_the_run_and_its_cause(tmp_path: Path) -> None:
    words = f'{str(FAKE)!r}, "ps=listen,hang", "chief=env=COLUMN,exit=2", "worker=gate,hang", "evaluator=hang"'
    text = f"""
def test_my_job(tflaunch):
    run = tflaunch({words}, options=["--no-preload"], env={{"COLUMN": "price"}})
    assert run.succeeded

def test_it_cannot_start(tflaunch):
    tflaunch("train.py", ps=0)
"""
    done = run_tests(tmp_path, text)
    assert done.returncode == 1
    for expected in (
        "<run tflaunch-1 failed: chief:0",
        "tflaunch: tflaunch-1",
        "cause     chief:0",
        '["COLUMN", "price"]',
        "UsageError: there is no script train.py",
    ):
        assert expected in done.stdout, done.stdout


@pytest.mark.e2e
@pytest.mark.parametrize("how", ["the test ends", "SIGINT", "SIGKILL"])
def test_a_run_ends_with_its_test(tmp_path: Path, how: str) -> None:
    (tmp_path / "test_it.py").write_text(
        f"""
import time
from pathlib import Path
def test_my_job(tflaunch):
    run = tflaunch.start({str(FAKE)!r}, "ps=listen,hang", "chief=gate,ready,step=1,hang", "worker=hang",
                         "evaluator=hang", options=["--no-preload"])
    while run.report["global_step"] != 1:
        time.sleep(0.01)
    assert run.outcome is None and "chief:0" in run.summary
    Path("up").touch()
    while {how!r} != "the test ends":
        time.sleep(0.01)
"""
    )
    argv = pytest_argv("-q", "--basetemp", str(tmp_path / "tmp"))
    with subprocess.Popen(argv, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as tests:
        deadline = time.monotonic() + 120
        while not (tmp_path / "up").exists():
            assert tests.poll() is None and time.monotonic() < deadline, tests.communicate()[0]
            time.sleep(0.01)
        folder = tmp_path / "tmp" / "test_my_job0" / "tflaunch-1"
        run_id = json.loads((folder / "events.jsonl").read_text().splitlines()[0])["run_id"]
        if how != "the test ends":
            with contextlib.suppress(ProcessLookupError):
                os.kill(tests.pid, getattr(signal, how))
        tests.communicate(timeout=120)
    while alive(run_id) or not (folder / REPORT).exists():
        assert time.monotonic() < deadline, alive(run_id)
        time.sleep(0.01)
    assert json.loads((folder / REPORT).read_text())["outcome"] == "interrupted"


XDIST = """
import time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(4))
def test_right(tflaunch, number):
    run = tflaunch(*{good}, workers=2)
    assert run.succeeded and run.report["global_step"] == 10 and len(run.report["tasks"]) == 5

@pytest.mark.parametrize("number", range(2))
def test_endless(tflaunch, number):
    run = tflaunch.start({fake!r}, "chief=gate,ready,step=1,hang", ps=0, workers=0, evaluator=False)
    while run.report["global_step"] != 1:
        time.sleep(0.01)
    Path(f"up-{{number}}").write_text(str(run.run_dir))
    run.wait()
"""


@pytest.mark.e2e
def test_with_xdist(tmp_path: Path) -> None:
    """Several at a time, each with its own; and nothing is left where pytest is killed in the middle."""
    (tmp_path / "test_it.py").write_text(XDIST.format(good=GOOD.format(script=str(FAKE)), fake=str(FAKE)))
    nothing = subprocess.DEVNULL
    argv = pytest_argv("-q", "-n2", "--basetemp", str(tmp_path / "tmp"), "-k")
    done = subprocess.run(
        [*argv, "right"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout
    with subprocess.Popen([*argv, "endless"], cwd=tmp_path, env=environment(), stdout=nothing, stderr=nothing) as tests:
        deadline = time.monotonic() + 120
        while not all((tmp_path / f"up-{number}").exists() for number in range(2)):
            assert tests.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        folders = [Path((tmp_path / f"up-{number}").read_text()) for number in range(2)]
        run_ids = [json.loads((folder / "events.jsonl").read_text().splitlines()[0])["run_id"] for folder in folders]
        assert all(map(alive, run_ids))
        os.kill(tests.pid, signal.SIGKILL)
    while any(map(alive, run_ids)) or not all((folder / REPORT).exists() for folder in folders):
        assert time.monotonic() < deadline, [alive(run_id) for run_id in run_ids]
        time.sleep(0.01)


def wheel_of_ours(folder: Path) -> Path:
    """Built in a copy, since a build leaves files behind, with the setuptools that is here."""
    source = folder / "source"
    source.mkdir()
    for name in ("launcher", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=source, capture_output=True)
    return next(folder.glob("tflaunch-*.whl"))


@pytest.mark.soak
@pytest.mark.tensorflow
def test_an_outside_project_with_our_wheel(tmp_path: Path) -> None:
    """Its environment has our wheel, and shares TensorFlow and the rest with ours."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    folder = next((home / "lib").glob("python*/site-packages"))
    (folder / "shared.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    install = ["install", "--no-deps", "--no-index", "--force-reinstall", str(wheel_of_ours(tmp_path))]
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *install], check=True, cwd=tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(CANNED.read_text())
    (project / "test_train.py").write_text(
        """\
import launcher


def test_training_survives_a_lost_worker(tflaunch):
    run = tflaunch("train.py", "--steps", "600", workers=2, ps=1, inject=["kill worker:1 at step 100"])
    assert run.succeeded
    assert run.report["global_step"] >= 600
    assert run.report["metrics"]["accuracy"] > 0.5
    assert run.report["drills"][0]["recovered_after_s"] is not None
    assert "site-packages" in launcher.__file__
"""
    )
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
