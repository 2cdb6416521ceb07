"""One process, real TensorFlow, little data: train, evaluate, export and predict agree with each other."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jobs.esmm.cli import main
from jobs.esmm.flags import make_parser
from jobs.esmm.parsed import train_options
from tests.jobs.esmm.conftest import Trained

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

ROW = {"user_id": 1, "user_age": 2, "user_city": 3, "item_id": 4, "item_category": 5, "hour": 6, "device": 3}
ROWS = [ROW | {"position": position} for position in (0, 7, 3)]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.strip()


def predictions(lines: list[str]) -> np.ndarray:
    rows = [json.loads(line) for line in lines]
    return np.array([[row[name] for name in ("pctr", "pcvr", "pctcvr")] for row in rows])


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def test_train_ends_at_the_last_step_with_an_evaluation(trained: Trained) -> None:
    assert trained.printed["global_step"] == 24  # two epochs of 12,000 in batches of 1,024
    assert trained.printed["ctcvr_cvr_auc_esmm"] == trained.printed["ctcvr_auc"]
    assert trained.printed["ctr_auc"] > 0.55
    assert {"cvr_auc", "ctr_loss", "ctcvr_loss"} <= trained.printed.keys()


def test_the_first_and_the_last_step_are_saved(trained: Trained) -> None:
    assert sorted(path.stem for path in trained.model_dir.glob("*.index")) == ["model.ckpt-0", "model.ckpt-24"]


def test_evaluate_finds_what_the_last_evaluation_found(
    trained: Trained, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, _ = run(capsys, "evaluate", "--data", sample, "--model-dir", trained.model_dir)
    assert code == 0
    assert json.loads(lines[-1]) == trained.printed


def test_metrics_are_those_of_the_predictions(
    trained: Trained, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    from jobs.auc import exact_auc

    _, lines, _ = run(capsys, "predict", "--model-dir", trained.model_dir, sample / "eval")
    pctr, pcvr, pctcvr = predictions(lines).T
    files = sorted(str(file) for file in (sample / "eval").iterdir())
    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("click", "conversion")}
    records = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    labels = {name: column.numpy() for name, column in tf.io.parse_example(records, spec).items()}
    clicked = labels["click"] == 1
    exact = {
        "ctr_auc": exact_auc(labels["click"], pctr),
        "cvr_auc": exact_auc(labels["conversion"][clicked], pcvr[clicked]),
        "ctcvr_auc": exact_auc(labels["conversion"], pctcvr),
    }
    assert {name: trained.printed[name] for name in exact} == pytest.approx(exact, abs=2e-3)
    assert pctcvr == pytest.approx(pctr * pcvr, rel=1e-4)


def test_saved_model_predicts_as_the_checkpoint_does(
    trained: Trained, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    from jobs.tfrecord import encode_rows

    frozen = rows_file.with_suffix(".pb")
    code, lines, _ = run(capsys, "export", "--model-dir", trained.model_dir, "--frozen", frozen)
    assert code == 0
    exports = trained.model_dir / "export"
    at_end_of_training = [path for path in (exports / "esmm").glob("[0-9]*") if str(path) != lines[-1]]
    assert len(at_end_of_training) == 1
    assert str((exports / "esmm" / "current").resolve()) == lines[-1]
    _, predicted, _ = run(capsys, "predict", "--model-dir", trained.model_dir, rows_file)
    expected = predictions(predicted)
    columns = {name: np.array([row[name] for row in ROWS]) for name in ROWS[0]}
    records = rows_file.with_suffix(".tfrecord")
    records.write_bytes(encode_rows(columns))
    serialized = list(tf.data.TFRecordDataset(str(records)).as_numpy_iterator())
    for folder in (lines[-1], str(at_end_of_training[0]), str(exports / "best" / "current")):
        signatures = tf.saved_model.load(folder).signatures
        by_ids = signatures["serving_default"](**{name: tf.constant(ids) for name, ids in columns.items()})
        by_records = signatures["examples:serving_default"](examples=tf.constant(serialized))
        for output in (by_ids, by_records):
            served = np.stack([output[name].numpy() for name in ("pctr", "pcvr", "pctcvr")], axis=1)
            assert served == pytest.approx(expected, rel=1e-5)
    assert len({tuple(row) for row in expected}) == len(ROWS)
    graph = tf.compat.v1.GraphDef.FromString(frozen.read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        feeds = {f"input_{name}:0": column for name, column in columns.items()}
        names = ("pctr", "pcvr", "pctcvr")
        served = np.stack(session.run([f"{name}:0" for name in names], feeds), axis=1)
    assert served == pytest.approx(expected, rel=1e-5)


def test_predict_reads_standard_input_up_to_the_limit(
    trained: Trained, rows_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(rows_file.read_text() + "not looked at"))
    code, lines, _ = run(capsys, "predict", "--model-dir", trained.model_dir, "-", "--limit", "3")
    assert (code, len(lines)) == (0, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "rows.jsonl:4: not JSON"),
        ("[1]", "rows.jsonl:4: not a JSON object"),
        (json.dumps(ROW), "rows.jsonl:4: position must be an integer id, not null"),
        (json.dumps(ROW | {"position": 1.5}), "position must be an integer id, not 1.5"),
        (json.dumps(ROW | {"position": 2**63}), "position must be an integer id"),
    ],
)
def test_a_bad_row_is_named(
    line: str, message: str, trained: Trained, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_file.write_text(rows_file.read_text() + line + "\n")
    code, lines, said = run(capsys, "predict", "--model-dir", trained.model_dir, rows_file, "--log-level", "error")
    assert (code, lines) == (2, [])
    assert message in said


def test_another_shape_is_refused_by_name(trained: Trained, sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(
        capsys,
        "train",
        "--data",
        sample,
        "--model-dir",
        trained.model_dir,
        "--embedding-dim",
        "18",
        "--towers",
        "paper",
    )
    assert code == 2
    assert "was trained with embedding_dim 8 (now 18), towers [64, 32] (now [360, 200, 80])" in said
    assert f"--warm-start {trained.model_dir}" in said


def test_another_shape_begins_with_what_fits(
    trained: Trained, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs._tf import tf

    command = ["train", "--data", sample, "--model-dir", tmp_path, "--max-steps", 1, "--towers", "64,16"]
    renamed = ["--warm-start-names", "ctr_tower/hidden_0/=cvr_tower/hidden_0/", "--learning-rate", "1e-9"]
    code, lines, said = run(capsys, *command, "--warm-start", trained.model_dir, *renamed)
    assert (code, json.loads(lines[-1])["global_step"]) == (0, 1)
    old, new = (tf.train.load_checkpoint(str(folder)) for folder in (trained.model_dir, tmp_path))
    begun = new.get_tensor("ctr_tower/hidden_0/kernel")
    assert begun == pytest.approx(old.get_tensor("cvr_tower/hidden_0/kernel"), abs=1e-6)
    assert begun != pytest.approx(old.get_tensor("ctr_tower/hidden_0/kernel"), abs=1e-3)
    assert "ctr_tower/hidden_1/kernel ([64, 32] float32 stored, [64, 16] float32 wanted)" in said
    code, _, said = run(capsys, *command[:3], "--model-dir", tmp_path / "b", "--warm-start", tmp_path / "nothing")
    assert code == 2
    assert "esmm: error: --warm-start: cannot warm-start from" in said


def test_auc_within_a_feature(trained: Trained, sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--data", sample, "--model-dir", trained.model_dir, "--group-by"]
    code, lines, _ = run(capsys, *command, "user_id")
    assert code == 0
    assert 0.5 < json.loads(lines[-1])["ctr_grouped_auc"] < 1.0
    code, _, said = run(capsys, *command, "user")
    assert code == 2
    assert "--group-by user: there is no such feature; there are user_id, " in said


def test_training_ends_early(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss falls at every look, but never by as much as asked for; what is before step 8 counts for nothing."""
    command = ["train", "--data", sample, "--model-dir", tmp_path, "--max-steps", 60, "--learning-rate", "1e-4"]
    every = ["--save-checkpoints-steps", 4, "--throttle-secs", 0, "--stop-every-steps", 4]
    rule = ["--stop-metric", "ctr_loss", "--stop-after-steps", 8, "--stop-min-change", 5, "--stop-min-steps", 8]
    code, lines, said = run(capsys, *command, *every, *rule)
    assert code == 0
    assert 16 <= json.loads(lines[-1])["global_step"] <= 24
    assert re.search(r"Training ends early: no decrease of ctr_loss for 8 steps: \S+ at step 8, \S+ at step 16\.", said)


def test_training_on_other_columns_is_refused(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"features": [{"name": "user_id", "ids": 9}, {"name": "colour", "ids": 9}]}')
    code, _, said = run(capsys, "train", "--data", sample, "--schema", schema, "--model-dir", tmp_path / "model")
    assert code == 2
    assert "no single int64 for colour; compare the columns with the schema" in said
    assert not (tmp_path / "model").exists()


def test_training_goes_on_where_it_ended(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saving = ["--save-checkpoints-steps", 1, "--keep-checkpoints", 2]
    command = ["train", "--data", sample, "--model-dir", tmp_path, "--optimizer", "adagrad", *saving, "--max-steps"]
    assert run(capsys, *command, 2)[0] == 0
    code, lines, _ = run(capsys, *command, 5)
    assert (code, json.loads(lines[-1])["global_step"]) == (0, 5)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["model.ckpt-4", "model.ckpt-5"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (600, None, 5)),
        (["--save-checkpoints-secs", "30", "--keep-checkpoints", "2"], (30, None, 2)),
        (["--save-checkpoints-steps", "50"], (None, 50, 5)),
    ],
)
def test_a_cluster_saves_as_it_is_told_and_places_by_bytes(
    arguments: list[str], expected: tuple[int | None, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs._tf import tf
    from jobs.esmm.commands import _run_config

    cluster = {"ps": ["h:1", "h:2"], "chief": ["h:3"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    options = train_options(make_parser().parse_args(["train", *arguments]))
    config = _run_config(options, str(tmp_path))
    assert (config.save_checkpoints_secs, config.save_checkpoints_steps, config.keep_checkpoint_max) == expected
    with tf.Graph().as_default(), tf.compat.v1.device(config.device_fn):
        places = [tf.compat.v1.get_variable(str(size), [size], use_resource=True).device for size in (9, 1, 2, 3)]
    assert [place.partition("task:")[2] for place in places] == ["0", "1", "1", "1"]


def test_one_checkpoint_of_each_so_many_hours_is_kept_besides(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step of this training takes longer than the hours that are given."""
    keeping = ["--save-checkpoints-steps", 1, "--keep-checkpoints", 1, "--keep-every-hours", "1e-9"]
    assert run(capsys, "train", "--data", sample, "--model-dir", tmp_path, *keeping, "--max-steps", 3)[0] == 0
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == [f"model.ckpt-{step}" for step in range(4)]


def test_examples_are_counted_as_they_are_trained(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr("launcher.estimator.streaming.queue.session.add_examples", counted.append)
    run(capsys, "train", "--data", sample, "--model-dir", tmp_path, "--max-steps", 3, "--batch-size", 100)
    assert counted == [100, 100, 100]


def test_no_model_is_said_in_one_line(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "evaluate", "--data", sample, "--model-dir", tmp_path)
    assert (code, said.splitlines()[-1]) == (
        2,
        f"esmm: error: no trained model in {tmp_path}; train one with: python -m jobs.esmm train",
    )
