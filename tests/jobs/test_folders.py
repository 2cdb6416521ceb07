from __future__ import annotations

from pathlib import Path

import pytest

from jobs.folders import cache_folder, replace_whole_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with replace_whole_folder(target) as unfinished:
        (unfinished / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(KeyboardInterrupt), replace_whole_folder(target) as unfinished:
        (unfinished / "new").touch()
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_folder_goes_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with replace_whole_folder(target) as unfinished:
        (unfinished / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left_over = tmp_path / ".target.unfinished-abc"
    left_over.mkdir()
    with replace_whole_folder(tmp_path / "target"):
        pass
    assert not left_over.exists()


@pytest.mark.parametrize(("value", "expected"), [("/c", "/c/tflaunch"), ("relative", "HOME"), ("", "HOME")])
def test_the_cache_is_where_the_desktop_standard_says(
    value: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(cache_folder()) == expected.replace("HOME", f"{tmp_path}/.cache/tflaunch")
