"""Data that is not as one might think: names that TensorFlow does not take, a spec that is another table's, tabs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.inference import find_spec
from launcher.estimator.streaming.formats.scopes import scope_name
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming.data import batches, options

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

ROOT = Path(__file__).parents[4]

TRAIN = """
import sys
import tensorflow as tf
import launcher.estimator
from launcher.estimator.streaming import Stream

stream = Stream(sys.argv[1], labels="点击", batch_examples=16, epochs=1)
linear, deep = stream.spec.feature_columns(without=["点击"])
model = tf.estimator.DNNLinearCombinedClassifier(
    linear_feature_columns=linear, dnn_feature_columns=deep, dnn_hidden_units=[4], model_dir=sys.argv[2]
)
train = stream.train_spec()
model.train(train.input_fn, hooks=train.hooks)
serving = tf.estimator.export.build_parsing_serving_input_receiver_fn(stream.spec.parsing(without=["点击"]))
model.export_saved_model(sys.argv[3], serving)
"""


def test_names_of_any_script_train_and_serve_a_canned_estimator(tmp_path: Path) -> None:
    rows = 64
    table = {
        "年龄": [i % 50 for i in range(rows)],
        "城市": [f"城 {i % 3}" for i in range(rows)],
        "user id": pa.array([2**64 - 1 - i for i in range(rows)], pa.uint64()),
        "prix (€)": pa.array([i / 4 for i in range(rows)], pa.float32()),
        "点击": [i % 2 for i in range(rows)],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    words = [str(tmp_path / name) for name in ("a.parquet", "model", "export")]
    environ = os.environ | {"TF_CONFIG": json.dumps({"model_dir": words[1]}), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", TRAIN, *words], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    names = [name for name, _ in tf.train.list_variables(words[1])]
    assert any(".5e74..9f84." in name for name in names) and any("user.20.id" in name for name in names)
    assert list((tmp_path / "export").iterdir())


def test_a_name_that_can_be_one_of_a_variable_stays_as_it_is() -> None:
    assert [scope_name(name) for name in ("age", "a-b.c_D9", "a/b", "年")] == ["age", "a-b.c_D9", "a.2f.b", ".5e74."]
    spec = FeatureSpec(columns=(Column(name="年"), Column(name="age")))
    linear, _ = spec.feature_columns()
    assert [(column.name, column.key) for column in linear] == [(".5e74.", "年"), ("age", "age")]


def test_a_spec_that_is_another_tables_is_named(tmp_path: Path) -> None:
    spec = tmp_path / "feature_spec.json"
    spec.write_text('{"columns": {"id": {"type": "int64", "length": 1}, "label": {"type": "int64", "length": 1}}}')
    says = rf"\(the feature spec is {spec}\)"
    pq.write_table(pa.table({"id": [1.5], "label": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "b.parquet")
    for name, why in (("a", "column 'id' is double in this file"), ("b", "it has no column 'label'")):
        found = find_spec(str(tmp_path / f"{name}.parquet"), "parquet")
        with pytest.raises(tf.errors.OpError, match=rf"{name}.parquet: {why}.*{says}"):
            batches([str(tmp_path / f"{name}.parquet")], options(spec=found, format="parquet"))
    for text, why in (("id\n1\n", "the header has no column 'label'"), ("id,label\nx,1\n", "'x' is no int64")):
        (tmp_path / "c.csv").write_text(text)
        found = find_spec(str(tmp_path / "c.csv"), "csv")
        with pytest.raises(tf.errors.OpError, match=rf"c.csv: .*{why}.*{says}"):
            batches([str(tmp_path / "c.csv")], options(spec=found, format="csv"))
    assert found == FeatureSpec(columns=(Column(name="id"), Column(name="label")))


@pytest.mark.parametrize("first", ["a.csv", "b.csv"])
def test_tabs_among_commas_are_called_so(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.csv").write_text("id,label\n1,1\n2,0\n")
    (tmp_path / "b.csv").write_text("id\tlabel\n1\t1\n2\t0\n")
    files = sorted([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], key=lambda path: not path.endswith(first))
    with pytest.raises(tf.errors.OpError, match=r"b.csv: at byte 0: its values stand between tabs, those of the other"):
        batches(files, options(format="csv", shuffle_rows=0))


@pytest.mark.parametrize("command", ["head", "count", "verify", "convert"])
def test_what_is_not_there_is_said_before_tensorflow_is_loaded(tmp_path: Path, command: str) -> None:
    words = [command, str(tmp_path / "none"), *(["--out", str(tmp_path)] if command == "convert" else [])]
    program = (
        "import sys\nfrom launcher.estimator.streaming.tools.cli import main\n"
        "code = main(sys.argv[1:])\nassert 'tensorflow' not in sys.modules\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT)
    where = f"{tmp_path}/none: there is no such file or folder; {tmp_path} has no none"
    assert done.stderr == f"streaming: error: no data: {where}\n"
    assert done.returncode == 1


def test_files_of_this_machine_are_found_without_tensorflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    assert main(["count", str(tmp_path / "?.csv"), str(tmp_path)]) == 0
    assert "2  in all" in capsys.readouterr().out


GONE = "there is no such file or folder; the working directory has no none"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage: python examples/table.py TRAIN EVAL"),
        (["none", "none"], f"SourceError: no data: none: {GONE}"),
        (["a.parquet", "none"], f"SourceError: no data: none: {GONE}"),
    ],
)
def test_the_example_says_what_is_wrong_in_one_line(tmp_path: Path, words: list[str], says: str) -> None:
    pq.write_table(pa.table({"x": np.arange(4), "click": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    environ = os.environ | {"TF_CONFIG": json.dumps({"model_dir": str(tmp_path / "model")})}
    words = [sys.executable, str(ROOT / "examples" / "table.py"), *words]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environ)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == says and "Traceback" not in done.stderr
