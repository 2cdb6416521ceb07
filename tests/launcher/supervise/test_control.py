"""What a client says to a supervisor."""

from __future__ import annotations

import socket
from pathlib import Path

from launcher.supervise.control import Control, Own


def test_a_supervisor_that_ends_with_a_request_unread_has_just_ended(tmp_path: Path) -> None:
    """A run may be over before its client has said that it owns it; the kernel then resets the connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        line = Control(tmp_path / "s")
        supervisor, _ = server.accept()
        line.post(Own())
        supervisor.close()
        assert line.ask(Own()) == "the run has just ended"
        assert not line.is_open()
        line.close()
