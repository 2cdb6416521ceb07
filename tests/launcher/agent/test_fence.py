"""Who has a folder: the list that tasks look at before they change a file there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.agent.host import fence
from launcher.agent.inside.guard import library


def holders(folder: Path) -> list[str]:
    return (folder / fence.HOLDERS).read_text().splitlines()


def test_who_was_replaced_does_not_get_the_folder_back(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").touch()
    for run, generation in (("r", 1), ("r", 2), ("r", 1), ("r", 2)):
        fence.take(str(tmp_path), run, generation)
    assert holders(tmp_path) == ["r 1", "r 2"]
    for run, generation in (("other", 2), ("r", 1)):
        fence.leave(str(tmp_path), run, generation, is_over=True)
    assert holders(tmp_path) == ["r 1", "r 2"]
    fence.leave(str(tmp_path), "r", 2, is_over=True)
    for generation in (1, 2):
        fence.take(str(tmp_path), "r", generation)
    assert holders(tmp_path) == ["r 1", "r 2", "-"]
    fence.take(str(tmp_path), "next", 1)
    fence.leave(str(tmp_path), "r", 2, is_over=True)
    assert holders(tmp_path) == ["r 1", "r 2", "-", "next 1"]


def test_a_host_whose_lease_has_passed_does_not_take_the_folder_from_the_next(tmp_path: Path) -> None:
    """Its chief has moved alone, in the same generation."""
    (tmp_path / "checkpoint").touch()
    for _ in ("on the host that is lost", "on the next"):
        fence.take(str(tmp_path), "r", 1)
    fence.leave(str(tmp_path), "r", 1, is_over=False)
    assert holders(tmp_path) == ["r 1"]


def test_a_folder_in_which_nothing_was_trained_is_left_as_it_was(tmp_path: Path) -> None:
    fence.take(str(tmp_path), "r", 1)
    fence.leave(str(tmp_path), "r", 1, is_over=False)
    assert list(tmp_path.iterdir()) == []


RENAME = "import os, sys; os.rename(sys.argv[1] + '/draft', sys.argv[1] + '/checkpoint')"


def renamed_by(folder: Path, task: str, attempt: int) -> int:
    """The exit code of an attempt that makes a checkpoint there."""
    (folder / "draft").touch()
    who = {"TFLAUNCH_HOLDER": "r 1", "TFLAUNCH_TASK": task, "TFLAUNCH_ATTEMPT": str(attempt)}
    env = {**os.environ, **who, "LD_PRELOAD": library.path()}
    return subprocess.run([sys.executable, "-S", "-c", RENAME, str(folder)], env=env, check=False).returncode


@pytest.mark.skipif(bool(library.obstacle()), reason=library.obstacle())
def test_who_has_moved_alone_writes_only_where_he_is_now(tmp_path: Path) -> None:
    fence.take(str(tmp_path), "r", 1)
    assert renamed_by(tmp_path, "chief:0", 1) == 0
    fence.take(str(tmp_path), "r", 1, departed=("chief:0 1", "worker:1 1"))
    fence.take(str(tmp_path), "r", 1, departed=("chief:0 1", "worker:1 1", "evaluator:0 1"))
    assert holders(tmp_path) == ["r 1 chief:0 1", "r 1 worker:1 1", "r 1 evaluator:0 1", "r 1"]
    for task in ("chief:0", "worker:1", "evaluator:0"):
        assert renamed_by(tmp_path, task, 1) == -signal.SIGKILL
        assert renamed_by(tmp_path, task, 2) == 0
    assert renamed_by(tmp_path, "worker:0", 1) == 0
    fence.take(str(tmp_path), "r", 2, departed=())
    assert renamed_by(tmp_path, "worker:0", 1) == -signal.SIGKILL
    fence.take(str(tmp_path), "r", 1, departed=("chief:0 2",))
    assert holders(tmp_path)[-1] == "r 2", "who was replaced himself replaces nobody"
