"""Fixtures of the in-task library's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.launcher.estimator.cluster import Agent, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process with TensorFlow imported, from which tasks are forked."""
    process = Zygote()
    yield process
    process.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket in it."""
    with TemporaryDirectory(prefix="tfl") as name:
        yield Path(name)


@pytest.fixture
def agent(folder: Path) -> Iterator[Agent]:
    """An agent without tasks."""
    agent = Agent(folder / "s")
    yield agent
    agent.close()
