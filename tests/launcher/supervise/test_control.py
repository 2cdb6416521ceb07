"""What a client says to a supervisor."""

from __future__ import annotations

from launcher.supervise.control import Control, Own
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
