"""What a connection is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.model import PlannedHost
from launcher.transports.ssh import Dialer


def test_each_host_is_shown_its_own_keys_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    config = "".join(f"Host {name}\n  IdentityFile ~/.ssh/{name}\n" for name in ("a", "b"))
    (tmp_path / ".ssh/config").write_text(config)
    monkeypatch.setenv("HOME", str(tmp_path))
    dialer = Dialer()
    made = [dialer.connection(PlannedHost(name=name, address=name)) for name in ("a", "b", "c", "a")]
    keys = [connection.connect_kwargs.get("key_filename") for connection in made]
    assert [key and [Path(one).name for one in key] for key in keys] == [["a"], ["b"], None, ["a"]]


def test_connections_share_nothing_that_one_of_them_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    dialer = Dialer()
    one = dialer.connection(PlannedHost(name="a", address="a"))
    one.connect_kwargs["sock"] = object()
    assert "sock" not in dialer.connection(PlannedHost(name="b", address="b")).connect_kwargs
