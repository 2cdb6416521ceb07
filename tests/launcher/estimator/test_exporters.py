"""Best stays best over restarts; a pointer is always whole; a loaded export predicts as the checkpoint does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.estimator import UnknownMetricError
from tests.launcher.estimator.small_models import embedding, input_fn, model, serving_input_fn

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def best(**more: Any) -> Any:
    from launcher.estimator import BestExporter

    return BestExporter("best", serving_input_fn, **{"metric_name": "size", **more})


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    trained = model(embedding(6), tmp_path / "model")
    trained.train(input_fn, steps=1)
    return trained


class Job:
    """Evaluations one after the other, as an evaluator hands them to its exporter."""

    def __init__(self, trained: Any, exporter: Any) -> None:
        self._trained, self._exporter = trained, exporter
        self.folder = Path(trained.model_dir, "export", "best")

    def evaluated(self, size: float, **more: float) -> bool:
        """Whether it was exported."""
        metrics = {"size": np.float32(size), "global_step": np.int64(7), **more}
        checkpoint = self._trained.latest_checkpoint()
        return self._exporter.export(self._trained, str(self.folder), checkpoint, metrics, False) is not None

    def current(self) -> str:
        return str((self.folder / "current").readlink())

    def versions(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.name.isdigit())


def test_best_stays_best_after_a_restart(trained: Any) -> None:
    from launcher.estimator.training.exporters import read_history

    job = Job(trained, best())
    assert [job.evaluated(size) for size in (3.0, 2.0, 2.5, 2.0)] == [True, True, False, False]
    first = job.current()
    again = Job(trained, best())
    assert [again.evaluated(size) for size in (2.9, float("nan"), 1.0)] == [False, False, True]
    assert again.current() == again.versions()[-1] != first
    history = read_history(str(again.folder))
    assert [entry["value"] for entry in history] == [3.0, 2.0, 1.0]
    assert history[-1]["version"] == again.current()
    assert history[-1]["global_step"] == 7 and history[-1]["metrics"]["size"] == 1.0
    assert history[-1]["checkpoint"].endswith("model.ckpt-1")


def test_a_metric_that_should_rise_by_more_than_a_little(trained: Any) -> None:
    job = Job(trained, best(higher_is_better=True, min_change=0.1))
    assert [job.evaluated(size) for size in (0.5, 0.55, 0.61, 0.3)] == [True, False, True, False]


def test_old_exports_go_and_history_stays(trained: Any) -> None:
    from launcher.estimator.training.exporters import read_history

    job = Job(trained, best(exports_to_keep=2))
    assert all(job.evaluated(size) for size in (4.0, 3.0, 2.0, 1.0))
    assert len(job.versions()) == 2
    assert job.current() == job.versions()[-1]
    assert len(read_history(str(job.folder))) == 4


def test_another_metric_starts_anew(trained: Any) -> None:
    assert Job(trained, best()).evaluated(1.0, loss=5.0)
    assert Job(trained, best(metric_name="loss")).evaluated(1.0, loss=5.0)


def test_a_misspelt_metric_is_named(trained: Any) -> None:
    with pytest.raises(UnknownMetricError, match=r"BestExporter 'best' watches 'sise', .* did you mean size\?"):
        Job(trained, best(metric_name="sise")).evaluated(1.0)


def test_latest_and_final_point_to_the_newest(trained: Any) -> None:
    from launcher.estimator import FinalExporter, LatestExporter

    folder = Path(trained.model_dir, "export", "x")
    arguments = (trained, str(folder), trained.latest_checkpoint(), {})
    assert FinalExporter("x", serving_input_fn).export(*arguments, False) is None
    assert not folder.exists()
    for exporter in (FinalExporter("x", serving_input_fn), LatestExporter("x", serving_input_fn, exports_to_keep=1)):
        exported = exporter.export(*arguments, True)
        assert str((folder / "current").readlink()) == Path(exported.decode()).name
    assert (folder / "current" / "saved_model.pb").exists()


def test_whoever_follows_the_pointer_finds_a_whole_model(tmp_path: Path) -> None:
    from launcher.estimator.training.exporters import publish

    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_text(version)
    publish(str(tmp_path), "1")
    missed: list[OSError] = []
    over = threading.Event()

    def follow() -> None:
        while not over.is_set():
            try:
                (tmp_path / "current" / "saved_model.pb").read_text()
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=follow)
    reader.start()
    for turn in range(500):
        publish(str(tmp_path), "12"[turn % 2])
    over.set()
    reader.join()
    assert missed == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "current"]


def test_a_pointer_that_a_copy_made_a_folder_is_put_aside(tmp_path: Path) -> None:
    from launcher.estimator.training.exporters import publish

    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "saved_model.pb").touch()
    publish(str(tmp_path), "1700000001")
    assert str((tmp_path / "current").readlink()) == "1700000001"
    assert (tmp_path / "current.before-1700000001" / "saved_model.pb").exists()


def test_what_is_loaded_predicts_as_the_checkpoint_does(tmp_path: Path) -> None:
    """SavedModel by raw features and by tf.Example, and the frozen graph."""
    from jobs._tf import estimator, tf
    from launcher.estimator import freeze, serving_input_fn

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        weights = tf.compat.v1.get_variable("w", [2, 3], use_resource=True)
        made = tf.matmul(features["x"], weights) + tf.cast(features["y"], tf.float32)[:, None]
        if mode == "infer":
            outputs = {"serving_default": estimator.export.PredictOutput({"made": made})}
            return estimator.EstimatorSpec(mode, predictions={"made": made}, export_outputs=outputs)
        step = tf.compat.v1.train.get_global_step()
        return estimator.EstimatorSpec(mode, loss=tf.reduce_sum(made), train_op=step.assign_add(1))

    rows = {"x": np.array([[1.0, 2.0], [-3.0, 0.5]], np.float32), "y": np.array([4, 5])}
    spec = {"x": tf.io.FixedLenFeature([2], tf.float32), "y": tf.io.FixedLenFeature([], tf.int64)}
    trained = estimator.Estimator(model_fn, model_dir=str(tmp_path / "model"))
    rows_fn = lambda: tf.data.Dataset.from_tensor_slices(rows).batch(2)  # noqa: E731
    trained.train(rows_fn, steps=1)
    expected = np.array([row["made"] for row in trained.predict(rows_fn)])
    folder = trained.export_saved_model(str(tmp_path / "export"), serving_input_fn(spec)).decode()

    signatures = tf.saved_model.load(folder).signatures
    raw = signatures["serving_default"](**{name: tf.constant(column) for name, column in rows.items()})
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=rows["x"][i])),
                    "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[rows["y"][i]])),
                }
            )
        ).SerializeToString()
        for i in range(2)
    ]
    parsed = signatures["examples:serving_default"](examples=tf.constant(examples))
    assert raw["made"].numpy() == pytest.approx(expected, rel=1e-6)
    assert parsed["made"].numpy() == pytest.approx(expected, rel=1e-6)

    frozen = freeze(folder, str(tmp_path / "frozen.pb"))
    assert set(frozen.inputs) == {"x", "y"} and set(frozen.outputs) == {"made"}
    graph = tf.compat.v1.GraphDef.FromString((tmp_path / "frozen.pb").read_bytes())
    assert not [node.name for node in graph.node if node.op in ("VarHandleOp", "VariableV2")]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        feeds = {frozen.inputs[name]: column for name, column in rows.items()}
        assert session.run(frozen.outputs["made"], feeds) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="no signature predict; there are"):
        freeze(folder, str(tmp_path / "frozen.pb"), signature="predict")


def test_what_cannot_be_fed_as_one_tensor_is_refused() -> None:
    from jobs._tf import tf
    from launcher.estimator import serving_input_fn

    with pytest.raises(ValueError, match="tags: only a FixedLenFeature"):
        serving_input_fn({"tags": tf.io.VarLenFeature(tf.int64)})
