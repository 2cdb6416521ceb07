"""What a client says to a supervisor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from launcher.record import runs
from launcher.supervise import pulse
from launcher.supervise.control import AskRestart, Control, Done, Own
from launcher.wire import protocol
from launcher.wire.errors import HostError
from launcher.wire.private import registry
from launcher.wire.private.folder import CONTROL_SOCKET


def test_a_supervisor_that_ends_with_a_request_unread_has_just_ended() -> None:
    """A run may be over before its client has said that it owns it; the kernel then resets the connection."""
    home = registry.make("control", "control")
    assert home is not None
    with home.listen(CONTROL_SOCKET) as server:
        line = Control(f"{home.path}/{CONTROL_SOCKET}")
        supervisor, _ = server.accept()
        line.post(Own())
        supervisor.close()
        assert line.ask(Own()) == "the run has just ended"
        assert not line.is_open()
        line.close()
    home.remove()
    home.close()


def test_a_supervisor_that_does_not_answer_is_waited_for_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is stuck: its socket takes what is said, and nobody reads it."""
    monkeypatch.setattr(pulse, "ANSWER_S", 0.1)
    monkeypatch.setattr(pulse, "QUIET_S", 0.1)
    monkeypatch.setattr(pulse, "_LOOK_S", 0.0)
    folder = runs.RunFolder.create_at(tmp_path / "run")
    home = registry.make("mute", "mute")
    assert home is not None
    with home.listen(CONTROL_SOCKET) as server:
        record = runs.this_supervisor(Path(f"{home.path}/{CONTROL_SOCKET}"))
        runs.write_supervisor(folder, record)
        with pytest.raises(HostError) as caught:
            pulse.ask(folder, AskRestart(task="worker:0"))
        told = f"its supervisor (process {record.pid}) lives, but has not answered for"
        assert told in str(caught.value) and "it was asked, and may do it yet" in str(caught.value)
        assert not pulse.answers(folder)
        line = pulse.connect(folder)
        assert line is not None
        of = pulse.Pulse(folder, line, own=False)
        assert of.look(has_news=True) == ""
        for _ in range(3):  # two connections before have said something, too
            supervisor, _ = server.accept()
        deadline = time.monotonic() + 10
        while told not in of.look(has_news=False):
            assert time.monotonic() < deadline
        supervisor.sendall(protocol.encode(Done()))
        while of.look(has_news=False) and time.monotonic() < deadline:
            assert line.is_open()
        assert of.trouble == ""
        supervisor.close()
        line.close()
    home.remove()
    home.close()
