"""What a connection is made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.hosts.ssh import settings as ssh_settings
from launcher.hosts.ssh.connections import Dialer
from launcher.plan.model import PlannedHost


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


def keygen(path: Path, *options: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", *options, "-f", str(path)], check=True)
    kind, key, *_ = path.with_suffix(".pub").read_text().split()
    return f"{kind} {key}"


def test_a_host_is_known_by_the_lines_that_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain or hashed, with its port, by its alias; the first key of each type counts, and what is added is seen."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host c\n  HostKeyAlias alias\n")
    one, two = keygen(tmp_path / "one"), keygen(tmp_path / "two")
    (tmp_path / "hashed").write_text(f"b {two}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "hashed")], check=True, capture_output=True)
    file = tmp_path / ".ssh/known_hosts"
    lines = [
        "",
        "# a comment",
        "a",
        f"x,a {one}",
        f"a {two}",
        f"[a]:2222 {two}",
        "a ssh-ed25519 damaged",
        f"alias {two}",
    ]
    file.write_text("\n".join(lines) + f"\n@revoked z {two}\n" + (tmp_path / "hashed").read_text())
    dialer = Dialer()

    def known(name: str, as_name: str, **ssh: str) -> list[str]:
        connection = dialer.connection(PlannedHost(name=name, address=name, transport="ssh", details=ssh))
        keys = connection.client.get_host_keys().lookup(as_name) or {}
        return [f"{kind} {key.get_base64()}" for kind, key in keys.items()]

    assert known("a", "a") == [one]
    assert known("a", "[a]:2222", port="2222") == [two]
    assert known("b", "b") == [two]
    assert known("c", "alias") == [two]
    assert known("z", "z") == []
    ssh_settings.add_known_host(file, f"z {one}")
    assert known("z", "z") == [one]
