"""Parquet that unpacks to far more than it is: refused with file and place, before it takes the memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.arrow import pages
from launcher.estimator.streaming.formats.arrow.pages import check_pages
from launcher.estimator.streaming.formats.arrow.parquet_files import read_rows
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.shards import Shard

TEXT = FeatureSpec(columns=(Column(name="text", kind="bytes"),))


def test_a_page_that_unpacks_to_too_much_takes_no_memory(tmp_path: Path) -> None:
    """A quarter of a GiB in a file of kilobytes, where no page may have more than 32 MiB; in a process of its own,
    since the most memory that a process has had is never forgotten."""
    path = tmp_path / "a.parquet"
    small = [b"a"] * 10
    with pq.ParquetWriter(path, pa.schema([("text", pa.binary())]), compression="zstd", use_dictionary=False) as file:
        file.write_table(pa.table({"text": pa.array(small, pa.binary())}))
        file.write_table(pa.table({"text": pa.array([bytes(1 << 28)], pa.binary())}))
    program = (
        "import resource, sys\n"
        "from launcher.estimator.streaming.errors import BadDataError\n"
        "from launcher.estimator.streaming.formats.arrow import pages, parquet_files\n"
        "from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec\n"
        "from launcher.estimator.streaming.formats.shards import Shard\n"
        "pages.MOST_PAGE_BYTES = 32 << 20\n"
        "spec = FeatureSpec(columns=(Column(name='text', kind='bytes'),))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    for _ in parquet_files.read_rows(Shard(path=sys.argv[1]), spec, piece_rows=1024):\n"
        "        pass\n"
        "except BadDataError as error:\n"
        "    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    said, mib = done.stdout.splitlines()
    assert path.stat().st_size < 1 << 20
    assert said.startswith(f"{path}: at byte ") and "a page of column 'text' in row group 1 unpacks to 268,4" in said
    assert said.endswith("more than 32 MiB are not read")
    assert int(mib) < 100


def test_a_footer_that_says_less_than_its_page_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [bytes(3 << 20)]}), path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 100 << 20)
    assert sum(len(block.records[0]) for block in read_rows(Shard(path=str(path)), TEXT, piece_rows=8)) == 1
    data = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    assert data[offset + 2] == 0x15 and data[offset + 3] & 128  # the size unpacked begins: a number of four bytes
    data[offset + 3 : offset + 7] = b"\xfe\xff\xff\x7e"
    path.write_bytes(data)
    with pytest.raises(BadDataError, match=rf"at byte {offset}: a page of column 'text' in row group 0 unpacks to 13"):
        list(read_rows(Shard(path=str(path)), TEXT, piece_rows=8))


def test_a_header_that_is_none_is_left_to_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields within fields without an end, an empty file behind the footer's back, a place that cannot be."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a" * 100_000]}), path, compression="none", use_dictionary=False)
    about = pq.read_metadata(path)
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 1000)
    for hostile in (bytes([0x1C]) * 200_000, bytes([0x19, 0x19]) * 100_000, b"", bytes([255]) * 200_000):
        path.write_bytes(hostile)
        with path.open("rb") as raw:
            check_pages(str(path), raw, about, [0], ["text"])


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_all_pages_of_a_large_column_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    path = tmp_path / "a.parquet"
    lists = [["x" * i] * 3 for i in range(3000)]
    table = pa.table({"words": lists, "numbers": np.arange(3000)})
    pq.write_table(table, path, data_page_size=10_000, data_page_version=version, write_page_checksum=True)
    about = pq.read_metadata(path)
    sizes = []
    with path.open("rb") as raw:
        for place in range(2):
            chunk = about.row_group(0).column(place)
            found = list(pages._pages(raw, chunk, all_of_them=True))
            sizes.append(len(found))
            assert 0.9 < sum(size for _, size in found) / chunk.total_uncompressed_size <= 1
        assert sizes[0] > 2
        monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 1000)
        with pytest.raises(BadDataError, match=r"a page of column 'words\.list\.element' in row group 0"):
            check_pages(str(path), raw, about, [0], ["words"])
        check_pages(str(path), raw, about, [0], ["other"])
