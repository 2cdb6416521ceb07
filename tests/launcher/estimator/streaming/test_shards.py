from __future__ import annotations

from pathlib import Path

import pytest

from launcher.estimator.streaming.errors import SourceError
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.sources import is_data_file, list_files

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


@pytest.mark.parametrize("source", ["missing", "none-*.tfrecord", "empty"])
def test_a_source_without_files_is_an_error_that_names_it(tmp_path: Path, source: str) -> None:
    make(tmp_path / "empty", "notes.txt")
    with pytest.raises(SourceError, match=source.replace("*", r"\*")):
        list_files([str(tmp_path / source)])


def test_no_source_is_an_error() -> None:
    with pytest.raises(SourceError, match="no source"):
        list_files([])
