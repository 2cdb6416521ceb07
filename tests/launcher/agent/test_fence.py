"""Who has a folder: the list that tasks look at before they change a file there."""

from __future__ import annotations

from pathlib import Path

from launcher.agent.host import fence


def holders(folder: Path) -> list[str]:
    return (folder / fence.HOLDERS).read_text().splitlines()


def test_who_was_replaced_does_not_get_the_folder_back(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").touch()
    for run, generation in (("r", 1), ("r", 2), ("r", 1), ("r", 2)):
        fence.take(str(tmp_path), run, generation)
    assert holders(tmp_path) == ["r 1", "r 2"]
    for run, generation in (("other", 2), ("r", 1)):
        fence.leave(str(tmp_path), run, generation)
    assert holders(tmp_path) == ["r 1", "r 2"]
    fence.leave(str(tmp_path), "r", 2)
    for generation in (1, 2):
        fence.take(str(tmp_path), "r", generation)
    assert holders(tmp_path) == ["r 1", "r 2", "-"]
    fence.take(str(tmp_path), "next", 1)
    fence.leave(str(tmp_path), "r", 2)
    assert holders(tmp_path) == ["r 1", "r 2", "-", "next 1"]


def test_a_folder_in_which_nothing_was_trained_is_left_as_it_was(tmp_path: Path) -> None:
    fence.take(str(tmp_path), "r", 1)
    fence.leave(str(tmp_path), "r", 1)
    assert list(tmp_path.iterdir()) == []
