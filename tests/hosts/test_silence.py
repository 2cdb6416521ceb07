"""A host that is cut off for a while: the live view says that nothing comes of it, and shows no rates of its tasks."""

from __future__ import annotations

import time

import pytest

from launcher.record.reading import RunReader
from launcher.record.runs import RunFolder
from launcher.views.live.frame import Size, frame
from launcher.views.spans import plain
from tests.hosts.fixtures import require_hosts, three_hosts
from tests.hosts.namespaces import Network
from tests.hosts.running import ENDLESS, StartLive, live, spec, wait_until

__all__ = ["live", "require_hosts", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]


class Watched:
    """The view of a run as somebody has it who watches."""

    def __init__(self, folder: RunFolder) -> None:
        self._reader = RunReader(folder)
        self.lines: list[str] = []

    def look(self) -> str:
        for _ in self._reader.read():
            pass
        view = self._reader.view
        self.lines = [plain(line) for line in frame(view, Size(width=140, height=40), time.time())]
        return self.lines[0]

    def row(self, task: str) -> str:
        return next(line for line in self.lines if f" {task} " in line)


def test_the_view_says_that_a_host_is_cut_and_when_it_is_back(three_hosts: Network, live: StartLive) -> None:
    run = live(three_hosts, spec(three_hosts, words=ENDLESS, policy={"lease_s": 60.0, "grace_s": 1.0}))
    run.until_training()
    watched, host = Watched(RunFolder(run.folder)), three_hosts.host("b")
    wait_until(lambda: watched.look() and all("%" in watched.row(name) for name in ("worker:0", "worker:1")))
    host.cut()
    try:
        wait_until(lambda: "b silent for" in watched.look(), "for the view to say so")
        row = watched.row("worker:1")
        assert "its host is silent" in row and "%" not in row and "steps/s" not in row
        assert "%" in watched.row("worker:0") and "%" in watched.row("worker:2")
    finally:
        host.mend()
    wait_until(lambda: "silent" not in watched.look(), "for the host to be back")
    assert "%" in watched.row("worker:1")
    assert run.events("host_changed", state="lost") == []
