"""``python -m tests.benchmarks.input_way WAY FOLDER SECONDS``: one way of reading in a process of its own, as JSON.

Ways (a) to (c) and (f) are in ``input_baselines``; (d) is ours on the same files, (e) ours on row groups, (p) ours on
Parquet as pyarrow writes it, (q) on Parquet as ``convert`` does; (fg) the raw records of the row groups, (pr)
pyarrow's record batches of the latter, and nothing done with them. (g), (h) and (i) are peers, in ``input_peers``.
(convert) and (csv) encode row groups from arrays and from CSV, on one core.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

CORES = 2
FILES, ROWS = 16, 20_000


def make_data(folder: Path) -> None:
    """320,000 examples of 24 ids and two labels, as plain records, row groups, Parquet, and one CSV file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from launcher.estimator.streaming.formats.framing import frame
    from launcher.estimator.streaming.formats.row_groups import encode_groups, spec_of_arrays
    from launcher.estimator.streaming.tools.convert import write_parquet
    from tests.benchmarks.input_baselines import COLUMNS, FEATURES

    generator = np.random.default_rng(0)
    for number in range(FILES):
        columns: dict[str, Any] = {
            name: generator.integers(0, 100_000 if name in FEATURES else 2, ROWS) for name in COLUMNS
        }
        from jobs.tfrecord import encode_rows

        (folder / f"plain-{number:02d}.tfrecord").write_bytes(encode_rows(columns))
        groups = encode_groups(columns, spec_of_arrays(columns))
        (folder / f"groups-{number:02d}.tfrecord").write_bytes(b"".join(map(frame, groups)))
        pq.write_table(pa.table(columns), folder / f"theirs-{number:02d}.parquet")
        write_parquet(str(folder / f"ours-{number:02d}.parquet"), [columns], spec_of_arrays(columns))
    rows = np.stack([columns[name] for name in COLUMNS], axis=1)
    with (folder / "rows.csv").open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        np.savetxt(file, rows, fmt="%d", delimiter=",")


class _Endless:
    """The files again and again, as a queue would lease them."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = enumerate(itertools.cycle(files))

    def take(self) -> Any:
        from launcher.estimator.streaming.formats.shards import Shard
        from launcher.estimator.streaming.reading.leases import Lease

        number, path = next(self._files)
        return Lease(id=number, shard=Shard(path=path))

    def ended(self, lease: int, rows: int) -> None:
        pass


def ours(files: Sequence[str], format_: Literal["example", "row_groups", "parquet"]) -> Any:
    """(d), (e), (p), (q)"""
    import tensorflow as tf

    from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
    from launcher.estimator.streaming.formats.options import ReadingOptions
    from launcher.estimator.streaming.reading.dataset import read
    from tests.benchmarks.input_baselines import BATCH_EXAMPLES, COLUMNS

    spec = FeatureSpec(columns=tuple(Column(name=name) for name in COLUMNS))
    options = ReadingOptions(spec=spec, format=format_, batch_examples=BATCH_EXAMPLES)
    return tf.compat.v1.data.make_one_shot_iterator(read(lambda: _Endless(files), options)).get_next()


def measure(way: str, folder: Path, seconds: float) -> dict[str, float]:
    """Examples a second that a session takes, after a warm-up."""
    import tensorflow as tf

    from tests.benchmarks.input_baselines import BATCH_EXAMPLES, WAYS
    from tests.benchmarks.input_peers import batched_features, csv_dataset

    plain = sorted(map(str, folder.glob("plain-*")))
    groups = sorted(map(str, folder.glob("groups-*")))
    ways: dict[str, Callable[[], Any]] = {name: (lambda make=make: make(plain)) for name, make in WAYS.items()}
    ways |= {"d": lambda: ours(plain, "example"), "e": lambda: ours(groups, "row_groups")}
    theirs, own = (sorted(map(str, folder.glob(f"{name}-*.parquet"))) for name in ("theirs", "ours"))
    ways |= {"p": lambda: ours(theirs, "parquet"), "q": lambda: ours(own, "parquet")}
    ways |= {"fg": lambda: WAYS["f"](groups)}
    ways |= {"g": lambda: batched_features(plain), "h": lambda: csv_dataset([str(folder / "rows.csv")])}
    examples = BATCH_EXAMPLES * (1024 if way == "fg" else 1)
    before = _rss_mib()
    with tf.Graph().as_default():
        step = tf.group(*ways[way]().values())
        with tf.compat.v1.Session() as session:
            coordinator = tf.train.Coordinator()
            threads = tf.compat.v1.train.start_queue_runners(session, coordinator) if way == "a" else []
            _run(session, step, seconds / 4)
            used = time.process_time()
            steps, took = _run(session, step, seconds)
            used = time.process_time() - used
            coordinator.request_stop()
            session.close()
            coordinator.join(threads, stop_grace_period_secs=5, ignore_live_threads=True)
    return {
        "examples_per_s": steps * examples / took,
        "cpu_us": used / (steps * examples) * 1e6,
        "memory_mib": _rss_mib() - before,
    }


def raw_parquet(folder: Path, seconds: float) -> dict[str, float]:
    """Rows a second that pyarrow decodes, one file after the other, by one thread."""
    import pyarrow.parquet as pq

    files = itertools.cycle(sorted(folder.glob("ours-*.parquet")))
    done, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        done += sum(len(batch) for batch in pq.ParquetFile(next(files)).iter_batches(8192, use_threads=False))
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"examples_per_s": done / took, "cpu_us": used / done * 1e6}


def encode(way: str, folder: Path, seconds: float) -> dict[str, float]:
    """Examples a second from arrays, or from CSV, to a file of row groups."""
    from launcher.estimator.streaming.formats.row_groups import spec_of_arrays
    from launcher.estimator.streaming.tools.convert import convert_file, write_groups

    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{n}": generator.integers(0, 100_000, ROWS) for n in range(26)}
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        out = str(folder / f"out-{way}.tfrecord")
        if way == "csv":
            done += convert_file(str(folder / "rows.csv"), out)
        else:
            done += write_groups(out, [columns], spec_of_arrays(columns))
    return {"examples_per_s": done / (time.perf_counter() - began)}


def _run(session: Any, step: Any, seconds: float) -> tuple[int, float]:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not steps:
        session.run(step)
        steps += 1
    return steps, time.perf_counter() - began


def _rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    way, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    if way == "data":
        make_data(folder)
        return
    cores = sorted(os.sched_getaffinity(0))
    encoding = way in ("convert", "csv")
    os.sched_setaffinity(0, cores[: 1 if encoding else CORES])
    if way == "pr":
        print(json.dumps(raw_parquet(folder, seconds)))
    elif way == "i":
        from tests.benchmarks.input_peers import hugging_face

        files = sorted(map(str, folder.glob("theirs-*.parquet")))
        print(json.dumps(hugging_face(files, folder / "cache", seconds)))
    else:
        print(json.dumps((encode if encoding else measure)(way, folder, seconds)))


if __name__ == "__main__":
    main()
