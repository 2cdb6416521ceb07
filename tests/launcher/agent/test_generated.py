"""Where AutoGraph's files go."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from launcher.agent.inside import generated


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As TensorFlow's, which asks for a file of a name."""
    module = ModuleType(generated.LOADER)
    module.tempfile = tempfile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, generated.LOADER, module)
    return module


def written(loader: Any) -> Path:
    with loader.tempfile.NamedTemporaryFile(mode="w", suffix=".py", delete=False) as file:
        return Path(file.name)


def test_they_go_with_the_run_and_with_that_of_the_fork(loader: Any, tmp_path: Path) -> None:
    preload, run = tmp_path / "preload", tmp_path / "run"
    preload.mkdir(), run.mkdir()
    generated.goes_to(str(preload))
    assert written(loader).parent == preload
    generated.goes_to(str(run))
    assert written(loader).parent == run
    generated.goes_to("")
    assert written(loader).parent == run


def test_without_the_folder_they_go_where_they_went(loader: Any, tmp_path: Path) -> None:
    generated.goes_to(str(tmp_path / "gone"))
    made = written(loader)
    assert made.parent == Path(tempfile.gettempdir())
    made.unlink()


def test_another_loader_is_left_alone(loader: Any, tmp_path: Path) -> None:
    del loader.tempfile
    generated.goes_to(str(tmp_path))
    assert not hasattr(loader, "tempfile")
