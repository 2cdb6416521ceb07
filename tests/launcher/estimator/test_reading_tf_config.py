"""roaming: who reads TF_CONFIG's text is known by the line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from launcher.estimator import task as tasks
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import shares
from launcher.wire.protocol import Divides, Message


class Line:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.send = self.sent.append

    def open(self) -> bool:
        return True


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setattr(shares, "_OURS", "/nowhere")  # these tests lie beside the library
    task = tasks.begin({"TFLAUNCH_TASK": "worker:0"})
    task.channel = line = Line()  # type: ignore[assignment]
    patches = Patches()
    shares.watch_text(patches, task)
    yield line
    patches.undo()


@pytest.mark.parametrize(
    "read", [lambda: os.environ["TF_CONFIG"], lambda: os.environ.get("TF_CONFIG"), lambda: os.getenv("TF_CONFIG")]
)
def test_the_line_that_reads_it_is_named(line: Line, read: Callable[[], str]) -> None:
    assert read() == "{}"
    (said,) = line.sent
    assert isinstance(said, Divides) and not said.surely
    assert said.where.startswith("test_reading_tf_config.py:") and said.what == "reads TF_CONFIG"


def test_who_passes_all_variables_on_has_read_nothing(line: Line) -> None:
    copies = [os.environ.copy(), dict(os.environ), {**os.environ}, dict(os.environ.items())]
    assert all(copy["TF_CONFIG"] == "{}" for copy in copies)
    assert "TF_CONFIG" in os.environ and os.environ["PATH"]
    subprocess.run(["true"], check=True)
    assert line.sent == []
