"""A program that is run as ``__main__``: what its user sees when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
from launcher.agent.inside import main_module
from launcher.estimator.adjustments.patches import Patches

class Model:
    def fit(self):
        raise ValueError("too small")

def refuse(original, model):
    try:
        original(model)
    except ValueError as error:
        raise RuntimeError("not here") from error

def train():
    Model().fit()

Patches().wrap(Model, "fit", refuse)
main_module.run(train)
"""


def test_no_frame_of_ours_is_in_a_traceback(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split(", in ")[1] for line in done.stderr.splitlines() if line.startswith("  File")] == [
        *("refuse", "fit"),
        *("train", "refuse"),
    ]
    assert "ValueError: too small\n\nThe above exception" in done.stderr and "RuntimeError: not here" in done.stderr
