"""How a trainer comes by its session and is rid of it, with sessions that are not TensorFlow's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions import gate
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task
from tests.launcher.estimator.cluster import DEADLINE_S


class Session:
    """Closing it takes until ``may_close``."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.may_close = threading.Event()
        self.closed = threading.Event()
        self.closed_by: threading.Thread | None = None

    def close(self) -> None:
        self.closed_by = threading.current_thread()
        if self.may_close.wait(DEADLINE_S):
            self.closed.set()


@pytest.fixture(autouse=True)
def patches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Patches]:
    monkeypatch.setattr(gate, "_tf_session", lambda: SimpleNamespace(BaseSession=Session))
    made = Patches()
    gate.close_soon(made, Task(channel=Channel(path=None)))
    yield made
    made.undo()


def test_a_session_that_cannot_be_closed_is_not_waited_for() -> None:
    session = Session("grpc://127.0.0.1:1")
    session.close()
    assert not session.closed.is_set()
    session.may_close.set()
    assert session.closed.wait(DEADLINE_S), "it is closed all the same"


def test_a_session_of_this_process_alone_is_closed_as_ever() -> None:
    session = Session("")
    session.may_close.set()
    session.close()
    assert session.closed.is_set() and session.closed_by is threading.current_thread()


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("", ""),
        ("Variables not initialized: a, b, c, d, e, f, g, h", ""),  # the chief has not been there yet
        ("Variables not initialized: average_x", "average_x"),
        ("Variables not initialized: a, b, c, d, e, f, g", "a, b, c, d, e and 2 more"),
    ],
)
def test_variables_that_nobody_initialises_are_told_from_a_chief_that_has_not_come(message: str, missing: str) -> None:
    graph = SimpleNamespace(get_collection=lambda key: list("abcdefgh"))
    assert gate._missing(message, graph) == missing
