"""Many small files: one epoch by chief and two workers, against one process by hand over the same files.

    python -m tests.benchmarks.many_files [FILES [SHARDS]]

20,000 TFRecord files of 5 rows unless told otherwise, and one file of SHARDS x 5 rows in slices of five. Seconds from
the first session to the last step, so that the start of processes is aside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS, BATCH = 5, 512
ROOT = Path(__file__).parents[2]


def make_files(folder: Path, count: int) -> None:
    from jobs.tfrecord import encode_rows

    folder.mkdir()
    for number in range(count):
        data = encode_rows({"x": range(number * ROWS, (number + 1) * ROWS)})
        (folder / f"part-{number:06}.tfrecord").write_bytes(data)


def make_one(folder: Path, shards: int) -> None:
    from jobs.tfrecord import encode_rows

    folder.mkdir()
    with (folder / "part.tfrecord").open("wb") as file:
        for first in range(0, shards * ROWS, 50_000):
            file.write(encode_rows({"x": range(first, min(shards * ROWS, first + 50_000))}))


def by_hand(folder: str, model_dir: str) -> None:
    """The best plain pipeline, one process."""
    import tensorflow as tf

    def input_fn() -> Any:
        files = sorted(str(path) for path in Path(folder).glob("*.tfrecord"))  # ours writes its spec there, too
        dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))
        dataset = dataset.interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=16)
        dataset = dataset.shuffle(32_768).batch(BATCH)
        spec = {"x": tf.io.FixedLenFeature([], tf.int64)}
        return dataset.map(lambda records: tf.io.parse_example(records, spec), num_parallel_calls=2).prefetch(4)

    _estimator(model_dir).train(input_fn, hooks=[_clock(model_dir)])


def ours(folder: str, model_dir: str, slice_records: int | None) -> None:
    """What TF_CONFIG says."""
    from launcher.estimator.streaming import Files, Stream
    from tests.launcher.estimator.streaming.plain import tf

    stream = Stream(Files(sources=(folder,), slice_records=slice_records), batch_examples=BATCH)
    spec = stream.train_spec(hooks=[_clock(model_dir)])
    tf.estimator.train_and_evaluate(_estimator(model_dir), spec, tf.estimator.EvalSpec(spec.input_fn, steps=1))


def _estimator(model_dir: str) -> Any:
    from tests.launcher.estimator.streaming.plain import model_fn, tf

    config = tf.estimator.RunConfig(model_dir=model_dir, save_checkpoints_secs=30, log_step_count_steps=None)
    return tf.estimator.Estimator(model_fn, config=config)


def _clock(model_dir: str) -> Any:
    import tensorflow as tf

    class Clock(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
        """Notes when this process's first session was there, and when its last step was done."""

        def after_create_session(self, session: Any, coord: Any) -> None:
            self.began = self.ended = time.time()

        def after_run(self, run_context: Any, run_values: Any) -> None:
            self.ended = time.time()

        def end(self, session: Any) -> None:
            Path(model_dir, f"clock-{os.getpid()}.json").write_text(json.dumps([self.began, self.ended]))

    return Clock()


def run(way: str, folder: Path, slice_records: int | None = None) -> tuple[float, int]:
    """Seconds, and rows trained."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place, "model")
        model.mkdir()
        argv = [sys.executable, "-m", "tests.benchmarks.many_files", way, str(folder), str(model), str(slice_records)]
        if way == "ours":
            cluster = ["local", "--workers", "2", "--ps", "1", "--no-evaluator", "--plain", "--run-dir", f"{place}/run"]
            argv = [sys.executable, "-m", "launcher", *cluster, "--", "python", *argv[1:]]
        env = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        subprocess.run(argv, cwd=place, env=env | {"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
        times = [json.loads(path.read_text()) for path in model.glob("clock-*.json")]
        from tensorflow.train import latest_checkpoint, load_checkpoint

        rows = int(load_checkpoint(latest_checkpoint(str(model))).get_tensor("seen"))
        return max(ended for _, ended in times) - min(began for began, _ in times), rows


def main() -> None:
    if len(sys.argv) > 3:
        way, folder, model_dir, slice_records = sys.argv[1:]
        if way == "hand":
            by_hand(folder, model_dir)
        else:
            ours(folder, model_dir, None if slice_records == "None" else int(slice_records))
        return
    files, shards = (*map(int, sys.argv[1:]), *(20_000, 200_000)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory(prefix="tflaunch-files-") as place:
        make_files(Path(place, "files"), files)
        make_one(Path(place, "one"), shards)
        for name, folder, sliced in (("files", Path(place, "files"), None), ("slices", Path(place, "one"), ROWS)):
            for _ in range(2):
                hand, mine = run("hand", folder), run("ours", folder, sliced)
                print(
                    f"{name}: by hand {hand[0]:.1f} s ({hand[1]} rows), ours {mine[0]:.1f} s ({mine[1]} rows)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
