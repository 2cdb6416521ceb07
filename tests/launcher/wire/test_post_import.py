from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from launcher.wire.post_import import after_import

NAME = "tflaunch_test_module"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / f"{NAME}.py"
    path.write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return path


def test_acts_after_the_import_in_order_and_once(module: Path) -> None:
    seen: list[str] = []
    after_import(NAME, lambda: seen.append(f"first {sys.modules[NAME].value}"))
    after_import(NAME, lambda: seen.append("second"))
    assert not seen
    loaded = importlib.import_module(NAME)
    assert seen == ["first 1", "second"]
    assert loaded.__loader__ is loaded.__spec__.loader
    assert loaded.__spec__.loader.__class__.__name__ == "SourceFileLoader"
    importlib.reload(loaded)
    assert len(seen) == 2


def test_acts_at_once_on_what_is_imported() -> None:
    seen: list[int] = []
    after_import("sys", lambda: seen.append(1))
    assert seen == [1]


def test_a_module_that_is_not_there_stays_an_import_error(module: Path) -> None:
    seen: list[int] = []
    after_import("tflaunch_no_such_module", lambda: seen.append(1))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tflaunch_no_such_module")
    assert not seen


def test_what_the_action_raises_comes_out_of_the_import(module: Path) -> None:
    def fail() -> None:
        raise RuntimeError("not installed")

    after_import(NAME, fail)
    with pytest.raises(RuntimeError, match="not installed"):
        importlib.import_module(NAME)
