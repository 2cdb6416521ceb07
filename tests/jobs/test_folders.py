from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.folders import cache_folder, check_replaceable, replace_whole_folder


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


def test_a_data_folder_and_an_empty_one_may_be_replaced(tmp_path: Path) -> None:
    check_replaceable(tmp_path)
    for name in ("schema.json", "train", "eval", "truth.json", "eval-truth.npy"):
        (tmp_path / name).touch()
    check_replaceable(tmp_path, [tmp_path.parent / "clicks.csv"])


@pytest.mark.parametrize(("there", "named"), [(["thesis.tex"], "thesis.tex"), (["train", "eval"], "eval, train")])
def test_what_no_job_has_made_is_not_replaced(there: list[str], named: str, tmp_path: Path) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(JobError, match=f"would remove {named} in {tmp_path}, .* name another --out"):
        check_replaceable(tmp_path)


def test_what_is_to_be_read_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "schema.json").touch()
    source = tmp_path / "data" / "train" / "clicks.csv"
    source.touch()
    with pytest.raises(JobError, match=f"--force would remove {source}"):
        check_replaceable(tmp_path / "data", [source])
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(JobError, match=f"--force would remove {source}"):
        check_replaceable(tmp_path / "link", [source])


def test_neither_a_file_nor_the_current_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clicks.csv").touch()
    with pytest.raises(JobError, match="replaces folders only"):
        check_replaceable(tmp_path / "clicks.csv")
    (tmp_path / "clicks.csv").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match="--force would remove"):
        check_replaceable(tmp_path)
