"""Starting a supervisor."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli import client
from launcher.record import runs
from launcher.supervise import supervisor
from launcher.wire.errors import TflaunchError
from launcher.wire.private import registry
from launcher.wire.private.folder import Folder
from tests.launcher.lifecycle.test_lifecycle import make_plan


def test_a_supervisor_that_dies_at_once_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, home: Folder, **__: object) -> int:
        raise OSError("no room for a socket")

    monkeypatch.setattr(supervisor, "supervise", fails)
    with pytest.raises(TflaunchError, match="did not come up"):
        client.start(runs.RunFolder(tmp_path), make_plan(), {})
    assert not [home for home in registry.left_over() if tmp_path.name in home.path]
