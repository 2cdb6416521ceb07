"""Runs that a test may leave behind are taken down after it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e import sharing
from tests.e2e.fake_runs import Live, run_id
from tests.e2e.running import alive


@pytest.fixture(scope="module")
def shared() -> Iterator[None]:
    """The runs of a module may stand by for one another; see ``sharing.py``."""
    yield
    sharing.end()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def start(roles: dict[str, str], *options: str, argv: Sequence[str] = ()) -> Live:
        started.append(Live(tmp_path, roles, *options, argv=argv))
        return started[-1]

    yield start
    for run in started:
        if run.client.poll() is None:
            run.client.kill()
            run.client.wait()
        if (run.folder / "events.jsonl").exists():
            for pid in alive(run_id(run.folder)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
