from __future__ import annotations

from pathlib import Path

import pytest

from launcher.estimator.streaming.errors import SourceError
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.storage.remote import glob_regex
from launcher.estimator.streaming.formats.storage.sources import is_data_file, list_files

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.mark.parametrize(
    ("name", "is_data"),
    [
        ("a.tfrecord", True),
        ("a.tfrecords", True),
        ("a.tfrecord.gz", True),
        ("a.tfrecord-00001-of-00008", True),
        ("a.tfrecord-00001-of-00008.gz", True),
        ("a b{c}é.csv", True),
        ("a.csv.gz", True),
        ("a.tsv.zst", True),
        ("a.tfrecord.lz4", True),
        ("part-0.parquet", True),
        ("_part-0.parquet", False),
        (".a.tfrecord", False),
        ("_a.tfrecord", False),
        ("a.tfrecord.tmp", False),
        ("a.tfrecord.partial", False),
        ("schema.json", False),
        ("README", False),
    ],
)
def test_data_files_are_known_by_name(name: str, is_data: bool) -> None:
    assert is_data_file(name) is is_data


def make(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def test_files_folders_and_globs_give_each_file_once(tmp_path: Path) -> None:
    b, a, _ = make(tmp_path / "folder", "b.tfrecord", "a.tfrecord", ".c.tfrecord")
    (odd,) = make(tmp_path, "odd[1].data")
    (tmp_path / "folder" / "deep.tfrecord").mkdir()
    sources = [odd, str(tmp_path / "folder" / "b*"), str(tmp_path / "folder")]
    assert list_files(sources) == (odd, b, a)
    assert list_shards([a]) == (Shard(path=a),)


def test_folders_are_searched_to_their_last_level(tmp_path: Path) -> None:
    for name in ("dt=1/part.parquet", "dt=2/part.parquet", "dt=2/deep/b.csv", "_temporary/0/part.parquet", ".x/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path[len(str(tmp_path)) + 1 :] for path in list_files([f"{tmp_path}/"])]
    assert found == ["dt=1/part.parquet", "dt=2/deep/b.csv", "dt=2/part.parquet"]


def test_two_stars_stand_for_any_folders_and_lists_for_what_they_name(tmp_path: Path) -> None:
    for name in ("dt=1/a.csv", "dt=2/deep/b.csv", "c.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    a, b, c = (str(tmp_path / name) for name in ("dt=1/a.csv", "dt=2/deep/b.csv", "c.csv"))
    assert list_files([f"{tmp_path}/**/*.csv"]) == (c, a, b)
    assert list_files([f"{tmp_path}/dt=*/**"]) == (a, b)
    (tmp_path / "train.txt").write_text(f"# the first week\n\ndt=2\n{c}\n*.csv\n")
    assert list_files([f"@{tmp_path}/train.txt"]) == (b, c)
    (tmp_path / "train.txt").write_text("none.csv\n")
    with pytest.raises(SourceError, match=f"{tmp_path}/none.csv: there is no such file"):
        list_files([f"@{tmp_path}/train.txt"])
    for text in ("", "# nothing\n"):
        (tmp_path / "train.txt").write_text(text)
        with pytest.raises(SourceError, match=r"the list .*train.txt"):
            list_files([f"@{tmp_path}/train.txt"])


@pytest.mark.parametrize("scheme", ["hdfs", "gs", "unknown"])
def test_a_system_of_files_that_is_not_read_is_refused_in_words(scheme: str) -> None:
    says = rf"no data: {scheme}://there/a.csv: {scheme}:// is not read here: copy or mount it; s3:// is"
    with pytest.raises(SourceError, match=says):
        list_files([f"{scheme}://there/a.csv"])


@pytest.mark.parametrize(
    ("pattern", "paths", "others"),
    [
        ("b/*.csv", ["b/a.csv"], ["b/c/a.csv", "b/a.tsv"]),
        ("b/**/*.csv", ["b/a.csv", "b/c/d/a.csv"], ["b/a.tsv", "c/a.csv"]),
        ("b/part-[0-3]?.parquet", ["b/part-21.parquet"], ["b/part-41.parquet", "b/part-1.parquet"]),
        ("b/**", ["b/a", "b/c/d"], ["c/a"]),
    ],
)
def test_globs_elsewhere_are_globs_of_a_shell(pattern: str, paths: list[str], others: list[str]) -> None:
    found = glob_regex(pattern)
    assert all(found.fullmatch(path) for path in paths) and not any(found.fullmatch(path) for path in others)


@pytest.mark.parametrize("source", ["missing", "none-*.tfrecord", "empty"])
def test_a_source_without_files_is_an_error_that_names_it(tmp_path: Path, source: str) -> None:
    make(tmp_path / "empty", "notes.txt")
    with pytest.raises(SourceError, match=source.replace("*", r"\*")):
        list_files([str(tmp_path / source)])


def test_no_source_is_an_error() -> None:
    with pytest.raises(SourceError, match="no source"):
        list_files([])


def test_a_wrong_path_says_where_it_ends_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "part-0.csv").touch()
    monkeypatch.chdir(tmp_path)

    def said(source: str) -> str:
        with pytest.raises(SourceError) as caught:
            list_files([source])
        return str(caught.value).partition("folder; ")[2] or str(caught.value).partition("matches; ")[2]

    assert said(f"{tmp_path}/data/tran") == f"{tmp_path}/data has no tran: did you mean {tmp_path}/data/train?"
    assert said("dta/train") == "the working directory has no dta: did you mean data?"
    assert said("data/train/part-1.csv") == "data/train has no part-1.csv: did you mean data/train/part-0.csv?"
    assert said("data/trian/*.csv") == "data has no trian: did you mean data/train?"
    assert said("data/zzz") == "data has no zzz"
    assert said("data/train/part-0.csv/x") == said("data/*.tfrecord") == ""
