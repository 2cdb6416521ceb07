from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.inside.guard import build
from launcher.agent.ports import reserving
from tests.launcher.agent.inside.guarded import KEY, Guarded, write


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guard, as this checkout has it."""
    if shutil.which("cc") is None:
        pytest.skip("cc is missing: install gcc")
    target = tmp_path_factory.mktemp("guard") / "guard.so"
    build.build(["cc", "-Werror"], target)
    return target


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else gets, held as those of a run are."""
    held = reserving.reserve(None, None)
    yield held.number
    held.release()


@pytest.fixture
def file(tmp_path: Path, port: int) -> Path:
    """The addresses of a host with one task."""
    return write(tmp_path / "guard", {port: KEY})


@pytest.fixture
def guarded(library: Path) -> Iterator[Callable[..., Guarded]]:
    """Starts processes under the guard, and ends them."""
    started: list[Guarded] = []

    def start(file: Path | None, library: Path | str = library, **env: Any) -> Guarded:
        started.append(Guarded(library, file, **env))
        return started[-1]

    yield start
    for process in started:
        process.said()
