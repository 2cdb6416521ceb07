"""Every example of docs/python.md, run as it stands beside a ``train.py``."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import environment, tflaunch

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "python.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ENV = {"TFLAUNCH_NO_PRELOAD": "1"}  # nothing here imports TensorFlow
COMMANDS = re.findall(r"^    tflaunch (sweep .*)$", PAGE, re.MULTILINE)  # the rest tells servers of others
TRAIN = f"""
import json, os, runpy, sys
role = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
stories = {{"ps": "listen,ready,hang", "chief": "gate,ready,step=10,finished=10,barrier,saved=10",
           "worker": "gate,ready,step=9,finished=9", "evaluator": "ready,evaluated=10,drain"}}
sys.argv = ["fake", *(f"{{name}}={{story}}" for name, story in stories.items())]
runpy.run_path({str(ROOT / "tests" / "e2e" / "fake_cluster.py")!r}, run_name="__main__")
"""


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def can_run(code: str) -> bool:
    """Whether the packages of others are here that it imports: make test-jupyter has all of them."""
    return all(importlib.util.find_spec(name) for name in re.findall(r"^import (optuna)", code, re.MULTILINE))


@pytest.mark.parametrize("number", [number for number, code in enumerate(EXAMPLES) if can_run(code)])
def test_examples(cwd: Path, number: int) -> None:
    code = EXAMPLES[number]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(**ENV), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout


def test_examples_are_typed(tmp_path: Path) -> None:
    """As somebody's own code, who is strict."""
    for number, code in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(code)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-optuna.*]\nignore_missing_imports = true\n")
    mypy = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "."]
    env = environment(MYPYPATH=str(ROOT))
    done = subprocess.run(mypy, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_commands(cwd: Path) -> None:
    assert COMMANDS
    for command in COMMANDS:
        done = tflaunch(*shlex.split(command), cwd=cwd, **ENV)
        assert done.code == 0, done.stderr
        assert "succeeded" in done.stdout
