"""Every kind of bad data: one error that names file and place, or skipped, counted and told."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf

from launcher.estimator.streaming.formats.checksums import masked_crc
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.framing import BadRecord, frame
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.text import lines as csv_lines
from launcher.estimator.streaming.reading.leases import ShardLeases
from tests.launcher.estimator.streaming.data import ID_SPEC, batches, example, id_columns, ids_of, options, write_groups
from tests.launcher.estimator.streaming.data import write_ids as write

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

RECORD_BYTES = len(frame(example(id=1, label=1)))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def damage_data(path: Path) -> None:
    """A byte in the data of record 5."""
    data = bytearray(path.read_bytes())
    data[5 * RECORD_BYTES + 20] ^= 1
    path.write_bytes(bytes(data))


def damage_length(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[5 * RECORD_BYTES + 1] ^= 1
    path.write_bytes(bytes(data))


def replace_record(record: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data, place = path.read_bytes(), 5 * RECORD_BYTES
        path.write_bytes(data[:place] + frame(record) + data[place + RECORD_BYTES :])

    return change


def compress(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"this is a text file, and nothing else\n" * 10)


AT_5 = f"record 5 at byte {5 * RECORD_BYTES}"
CASES: list[tuple[str, Callable[[Path], None], str, dict[str, Any], list[int]]] = [
    # what, how the file becomes bad, what the error says, options, which of its ids are still read when skipping
    (
        "truncated",
        truncate,
        f"record 9 at byte {9 * RECORD_BYTES}: the file is cut off",
        {},
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
    ),
    ("wrong CRC", damage_data, f"{AT_5}: its checksum is wrong", {}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ("wrong length", damage_length, f"{AT_5}: the checksum of its length is wrong", {}, [0, 1, 2, 3, 4]),
    ("missing", replace_record(example(id=5)), f"{AT_5}: it has no feature 'label'", {}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    (
        "wrong type",
        replace_record(example(id=5, label=0.5)),
        f"{AT_5}: feature 'label' has another type",
        {},
        [0, 1, 2, 3, 4, 6, 7, 8, 9],
    ),
    (
        "two values",
        replace_record(example(id=5, label=[1, 2])),
        f"{AT_5}: feature 'label' has another number of values",
        {},
        [0, 1, 2, 3, 4, 6, 7, 8, 9],
    ),
    ("no Example", replace_record(b"\xff\xff\xff"), f"{AT_5}: it is no tf.Example", {}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ("empty", empty, "at byte 0: the file is empty", {}, []),
    ("foreign", foreign, "record 0 at byte 0: this is not a TFRecord file", {}, []),
    ("vanished", Path.unlink, "cannot be opened: No such file", {}, []),
    (
        "gzip as plain",
        compress,
        "record 0 at byte 0: this is a gzip file, but it is declared as not compressed",
        {"compression": "none"},
        [],
    ),
    (
        "plain as gzip",
        lambda path: None,
        "at byte 0: this is not a gzip file, but it is declared as one",
        {"compression": "gzip"},
        [],
    ),
]


@pytest.mark.parametrize(("how", "says", "changes"), [case[1:4] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_data_is_one_error_that_names_file_and_place(
    tmp_path: Path, how: Callable[[Path], None], says: str, changes: dict[str, Any]
) -> None:
    path = tmp_path / "b.tfrecord"
    write(path, range(10))
    how(path)
    with pytest.raises(tf.errors.OpError) as caught:
        batches([str(path)], options(**changes))
    assert f"BadDataError: {path}: {says}" in str(caught.value)


@pytest.mark.parametrize(
    ("how", "says", "changes", "left"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_skipped_data_is_told_and_the_rest_is_read(
    tmp_path: Path, how: Callable[[Path], None], says: str, changes: dict[str, Any], left: list[int]
) -> None:
    path = tmp_path / "b.tfrecord"
    write(path, range(10))
    how(path)
    compressed = changes.get("compression") == "gzip"
    other = write(tmp_path / ("c.tfrecord.gz" if compressed else "c.tfrecord"), range(20, 23))
    told: list[BadRecord] = []
    leases = ShardLeases([Shard(path=str(path)), Shard(path=other)])
    found = batches([], options(on_bad_record="skip", on_skipped=told.append, **changes), leases)
    assert sorted(ids_of(found)) == [*left, 20, 21, 22]
    assert [bad.path for bad in told] == [str(path)]
    assert f"{path}: {says}" in str(told[0])
    assert leases.rows == {0: len(left), 1: 3}


def test_a_record_of_absurd_length_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    length = (1 << 63).to_bytes(8, "little")
    path.write_bytes(length + masked_crc(length).to_bytes(4, "little") + bytes(1000))
    with pytest.raises(tf.errors.OpError, match="record 0 at byte 0: a record of 9,223,372,036,854,775,808 bytes"):
        batches([str(path)], options())


def test_a_line_without_an_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_lines, "MOST_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,label\n1,1\n" + b"0" * (8 << 20)))
    with pytest.raises(tf.errors.OpError, match="record 1: the line is longer than 1 MiB"):
        batches([str(path)], options(format="csv"))


def test_what_unpacks_to_a_thousand_times_its_size_takes_no_memory(tmp_path: Path) -> None:
    """A line, a quoted field and a record of 1 GB, in files of some kilobytes; in a process of its own, since the
    most memory that a process has had is never forgotten."""
    length = (1 << 30).to_bytes(8, "little")
    starts = {
        "line.csv": b"",
        "quoted.csv": b'"\n',
        "record.tfrecord": length + masked_crc(length).to_bytes(4, "little"),
    }
    for name, start in starts.items():
        with pa.CompressedOutputStream(str(tmp_path / name), "zstd") as file:
            file.write((b"id,label\n" if name.endswith(".csv") else b"") + start)
            for _ in range(1 << (7 if name == "quoted.csv" else 10)):
                file.write(bytes(1 << 20) if name != "quoted.csv" else b"a" * ((1 << 20) - 1) + b"\n")
    program = (
        "import resource, sys\n"
        "from launcher.estimator.streaming.errors import BadDataError\n"
        "from launcher.estimator.streaming.formats.framing import read_blocks\n"
        "from launcher.estimator.streaming.formats.text.lines import read_lines\n"
        "import pyarrow\n"
        "for path in sys.argv[1:]:\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    try:\n"
        "        for block in (read_lines if path.endswith('.csv') else read_blocks)(path):\n"
        "            pass\n"
        "    except BadDataError as error:\n"
        "        print(error)\n"
        "    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    paths = [str(tmp_path / name) for name in starts]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    line, first, *quoted, record, last = done.stdout.splitlines()
    assert "record 0: the line is longer than 16 MiB: is this CSV?" in line
    assert "record 0 at byte 0: a record of 1,073,741,824 bytes: more than 512 MiB are not read" in record
    assert int(first) < 200 and int(last) < 200 and int(quoted[-1]) < 400


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfid,label\r\n1,1\r\n", b"id,label\n1,1", b'"id","label"\n"1",1\n'])
def test_what_other_programs_write_as_csv_is_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert ids_of(batches([str(path)], options(format="csv"))) == [1]


def test_a_nul_in_a_text_is_kept_and_in_a_number_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,label\na\0b,1\n")
    text = FeatureSpec(columns=(Column(name="id", kind="bytes"),))
    assert batches([str(path)], options(format="csv", spec=text))[0]["id"].tolist() == [b"a\0b"]
    with pytest.raises(tf.errors.OpError, match=r"line 2, record 0 at byte 9: column 'id'"):
        batches([str(path)], options(format="csv"))


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "b.tfrecord.gz", range(1000)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(tf.errors.OpError, match=rf"{path}: record \d+ at byte \d+: cannot be read further"):
        batches([str(path)], options())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,x", "column 'id': 'x' is no int64"),
        ("1", "the line has 1 fields, the header 2"),
        ("1,2,3", "the line has 3 fields, the header 2"),
        ('1,"2', "a quoted field does not end"),
    ],
)
def test_a_bad_line_of_csv_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"label,id\n0,0\n1,1\n{line}\n0,4\n")
    offset = len("label,id\n0,0\n1,1\n")
    with pytest.raises(tf.errors.OpError) as caught:
        batches([str(path)], options(format="csv"))
    assert f"BadDataError: {path}: line 4, record 2 at byte {offset}: {says}" in str(caught.value)
    told: list[BadRecord] = []
    found = batches([str(path)], options(format="csv", on_bad_record="skip", on_skipped=told.append))
    assert (sorted(ids_of(found)), len(told)) == ([0, 1, 4], 1)


def test_a_csv_file_without_a_wanted_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    with pytest.raises(tf.errors.OpError, match="the header has no column 'label'"):
        batches([str(path)], options(format="csv"))


def test_a_row_group_with_columns_of_different_length_is_named(tmp_path: Path) -> None:
    good = tmp_path / "a.tfrecord"
    write_groups(good, id_columns(range(20)))
    path = tmp_path / "b.tfrecord"
    bad = tf.train.Example()
    for name, count in (("#rows", 1), ("id", 3), ("label", 2)):
        bad.features.feature[name].int64_list.value.extend([3] * count)
    path.write_bytes(good.read_bytes() + frame(bad.SerializeToString()))
    with pytest.raises(tf.errors.OpError, match=r"record 2 at byte \d+: its columns have different numbers of values"):
        batches([str(path)], options(format="row_groups"))


def test_plain_examples_are_no_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", range(3))
    with pytest.raises(tf.errors.OpError, match="it has no feature '#rows'"):
        batches([path], options(format="row_groups"))


def test_unreadable_permissions_are_named(tmp_path: Path) -> None:
    """In a process of its own, which is nobody's where root runs the tests: root may read everything."""
    path = write(tmp_path / "a.tfrecord", range(3))
    Path(path).chmod(0)
    program = (
        "import os, sys\n"
        "from launcher.estimator.streaming.formats.framing import read_blocks\n"
        "if os.geteuid() == 0:\n os.setgid(65534); os.setuid(65534)\n"
        "try:\n list(read_blocks(sys.argv[1]))\n"
        "except Exception as error:\n print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"BadDataError {path}: cannot be opened: Permission denied\n"


def test_a_file_that_was_replaced_by_a_shorter_one_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", range(3))
    with pytest.raises(tf.errors.OpError, match="the file ends after 3 records, 5 were expected"):
        batches([Shard(path=path, records=5)], options())


def test_a_feature_that_no_record_has_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", range(3))
    spec = FeatureSpec(columns=(*ID_SPEC.columns, Column(name="x", kind="bytes")))
    with pytest.raises(tf.errors.OpError, match="record 0 at byte 0: it has no feature 'x'"):
        batches([path], options(spec=spec, shuffle_rows=0))
