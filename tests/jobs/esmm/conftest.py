from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.esmm.cli import main

SMALL = ["--train-examples", "12000", "--eval-examples", "3000", "--train-files", "3", "--eval-files", "2"]


@dataclass(frozen=True)
class Trained:
    """A model trained in this process, and what ``train`` printed."""

    model_dir: Path
    printed: dict[str, float]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("esmm") / "sample"
    assert main(["generate", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    model_dir = tmp_path_factory.mktemp("esmm") / "model"
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["train", "--data", str(sample), "--model-dir", str(model_dir), "--seed", "1"]) == 0
    return Trained(model_dir, json.loads(output.getvalue().splitlines()[-1]))
