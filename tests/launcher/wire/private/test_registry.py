"""Private folders: whoever else is on the machine cannot take them, swap them, read them or have others emptied."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.agent.inside import last_words
from launcher.estimator.channel import Channel
from launcher.wire.private import peers, registry
from launcher.wire.private.folder import TASK_SOCKET, Folder
from tests.launcher.others import SOMEBODY, as_somebody, root_only, somebody_does, take

MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its final NUL


@pytest.fixture
def place() -> Iterator[Path]:
    """As /tmp is: everybody's, with the sticky bit. Its path is short, for sockets of others."""
    made = Path(tempfile.mkdtemp(prefix="tfp", dir="/tmp"))
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home(place: Path) -> Iterator[Folder]:
    made = make(place)
    yield made
    made.close()


def make(place: Path, name: str = "run@a") -> Folder:
    made = registry.make(name, "run", str(place))
    assert made is not None
    return made


def names(place: Path) -> list[str]:
    return [entry.name for entry in place.iterdir()]


def test_they_are_private_and_found_again(place: Path, home: Folder) -> None:
    assert Path(home.path).stat().st_mode & 0o777 == 0o700
    assert [found.path for found in registry.every("run@a", str(place))] == [home.path]
    assert [found.path for found in registry.of_run("run", str(place))] == [home.path]
    assert not list(registry.every("run@b", str(place))) and not list(registry.of_run("other", str(place)))
    found = registry.at(home.path)
    assert found is not None and found.run() == "run"
    found.close()


def test_names_leave_room_for_sockets_and_are_unlike(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = ["a", "b", "a/b", "a_b", "x" * 500, "x" * 501, "名前"]
    made = [Path(make(place, run).path).name for run in runs]
    assert len({name.rpartition("-")[0] for name in made}) == len(runs)
    more = len("4294967295") - len(str(os.getuid()))
    assert all(len(f"/tmp/{name}/{TASK_SOCKET}") + more <= MAX_SOCKET_PATH_BYTES for name in made)


def test_one_process_alone_lives_in_a_folder_of_a_name(place: Path, home: Folder) -> None:
    assert registry.make("run@a", "run", str(place)) is None
    assert names(place) == [Path(home.path).name]


def test_what_nobody_lives_in_is_left_over(place: Path) -> None:
    made = make(place)
    assert not list(registry.left_over(str(place)))
    made.close()
    assert [found.path for found in registry.left_over(str(place))] == [made.path]
    for found in registry.left_over(str(place)):
        assert found.run() == "run"
        found.remove()
    assert names(place) == []


def test_what_was_made_elsewhere_is_nobody_s_to_judge(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = peers.where()
    for facts, is_left, run in (
        ({"processes": "pid:[1]"}, True, ""),
        ({"boot": "another"}, True, ""),
        ({"boot": "another", "host": "another"}, False, ""),
        ({}, True, "run"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(peers, "where", lambda facts=facts: {**here, **facts})
            made = make(place)
            made.close()
        found = [(left.path, left.run()) for left in registry.left_over(str(place))]
        assert found == ([(made.path, run)] if is_left else []), facts
        for left in registry.every("run@a", str(place)):
            left.remove()


def test_removing_follows_no_links_and_spares_what_took_the_name(place: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "deep").mkdir(parents=True)
    (precious / "deep" / "file").touch()
    made = make(place)
    Path(made.path, "to-folder").symlink_to(precious)
    Path(made.path, "to-file").symlink_to(precious / "deep" / "file")
    moved = Path(made.path).rename(place / "moved")
    Path(made.path).symlink_to(precious)  # only root can, or who owns it
    made.remove()
    assert (precious / "deep" / "file").exists()
    assert list(moved.iterdir()) == []


@root_only
@pytest.mark.parametrize("how", ["folder", "link", "file"])
def test_a_name_that_somebody_holds_costs_nothing(
    place: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guessed = iter([b"\0\0\0\0"])
    monkeypatch.setattr(os, "urandom", lambda size: next(guessed, bytes(range(size))))
    former = make(place)
    former.remove()
    (tmp_path / "precious").mkdir()
    as_somebody(lambda: take(Path(former.path), how, tmp_path / "precious"))
    guessed = iter([b"\0\0\0\0"])
    made = make(place)
    assert made.path != former.path
    assert [found.path for found in registry.every("run@a", str(place))] == [made.path]
    assert registry.at(former.path) is None
    made.remove()
    assert names(place) == [Path(former.path).name]


@root_only
def test_a_place_that_others_could_meddle_with_is_refused_and_its_owner_named(place: Path) -> None:
    for owner, mode, words in (
        (SOMEBODY, 0o1777, rf"{place} belongs to user {SOMEBODY}, who could replace"),
        (0, 0o777, rf"{place} of user root has mode 0777: others could .*chmod \+t"),
        (0, 0o775, "has mode 0775"),
    ):
        os.chown(place, owner, 0)
        place.chmod(mode)
        with pytest.raises(registry.FolderError, match=words):
            make(place)
    inner = place / "inner"
    inner.mkdir(mode=0o700)
    with pytest.raises(registry.FolderError, match="0775"):
        make(inner)
    assert names(place) == ["inner"] and names(inner) == []


@pytest.mark.parametrize("path", ["/proc/none", "/usr/bin/env", "/proc"])
def test_a_place_where_nothing_can_be_made_is_said(path: str) -> None:
    with pytest.raises(registry.FolderError, match=path):
        make(Path(path))


def test_a_place_behind_a_link_is_taken_for_what_it_is(place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place)
    made = make(tmp_path / "link")
    assert Path(made.path).parent == place
    made.close()


# --- who is at the other end -------------------------------------------------------------------------------------


def test_one_s_own_processes_may_talk(home: Folder) -> None:
    with home.listen("s") as server, home.connect("s") as client:
        server.settimeout(30)
        there, _ = server.accept()
        with there:
            peers.check(there, "s")
            assert client.getpeername().endswith("/s")
    assert Path(home.path, "s").stat().st_mode & 0o777 == 0o600


@root_only
def test_a_socket_of_somebody_else_s_is_told_nothing(place: Path, home: Folder) -> None:
    Path(home.path).chmod(0o777)

    def serve(ready: Callable[[], object]) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{home.path}/s")
        Path(f"{home.path}/s").chmod(0o777)
        server.listen()
        ready()
        while True:
            server.accept()

    match = f"{home.path}/s is a process of user {SOMEBODY}"
    with somebody_does(serve), pytest.raises(peers.ForeignPeerError, match=match):
        home.connect("s")


@root_only
def test_somebody_who_connects_is_known(home: Folder) -> None:
    with home.listen("s") as server:
        Path(home.path).chmod(0o777)
        Path(home.path, "s").chmod(0o777)
        client = socket.socket(socket.AF_UNIX)
        with somebody_does(lambda ready: (client.connect(f"{home.path}/s"), ready(), client.recv(1))):
            server.settimeout(30)
            there, _ = server.accept()
            with there, pytest.raises(peers.ForeignPeerError, match=f"user {SOMEBODY}"):
                peers.check(there, "s")


@root_only
def test_a_task_tells_nobody_who_has_taken_its_agent_s_place(place: Path) -> None:
    home = place / "gone"
    precious = place / "precious"
    precious.touch(0o600)

    def squat(ready: Callable[[], object]) -> None:
        (home / last_words.FOLDER).mkdir(parents=True)
        (home / last_words.FOLDER / "chief-0.1.raised").symlink_to(precious)
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{home}/{TASK_SOCKET}")
        for path in (home, home / TASK_SOCKET):
            path.chmod(0o777)
        server.listen()
        ready()
        server.accept()[0].recv(1)

    with somebody_does(squat):
        channel = Channel(path=f"{home}/{TASK_SOCKET}", task="chief:0")
        assert not channel.open()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(last_words, "_raised", (os.getpid(), f"{home}/words/chief-0.1.raised"))
            last_words.note(ValueError("secret"))
    assert precious.read_text() == ""
