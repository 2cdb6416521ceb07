"""A feature of strings, weights, and row groups, from training to what a server is asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.esmm.cli import main

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

CITIES = np.array(["Köln", "New York", "", "東京", 'a "b"\n', "x" * 300])
ROWS = 240


def columns(rng: np.random.Generator) -> dict[str, np.ndarray]:
    city, user = rng.integers(0, len(CITIES), ROWS), rng.integers(0, 9, ROWS)
    click = (rng.random(ROWS) < 0.3 + 0.1 * city).astype(np.int64)
    weight = rng.random(ROWS).astype(np.float32)
    return {"city": CITIES[city], "user": user, "click": click, "conversion": click * (user % 2), "weight": weight}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from launcher.estimator.streaming.formats.row_groups import spec_of_arrays
    from launcher.estimator.streaming.tools.convert import write_groups

    folder = tmp_path_factory.mktemp("strings")
    for split, seed in (("train", 0), ("eval", 1)):
        (folder / split).mkdir()
        part = columns(np.random.default_rng(seed))
        write_groups(str(folder / split / "0.tfrecord"), [part], spec_of_arrays(part), rows=50)
    features = [{"name": "city", "ids": 50, "type": "string"}, {"name": "user", "ids": 9}]
    (folder / "schema.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.fixture(scope="module")
def model_dir(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    arguments = ["--epochs", "20", "--batch-size", "60", "--seed", "1", "--weight-column", "weight"]
    assert main(["train", "--data", str(data), "--model-dir", str(folder), *arguments]) == 0
    return folder


def test_serving_hashes_as_training_did(model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    rows = [{"city": str(city), "user": number} for number, city in enumerate([*CITIES, "never seen"])]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    assert main(["predict", str(file), "--model-dir", str(model_dir)]) == 0
    expected = [json.loads(line)["pctr"] for line in capsys.readouterr().out.splitlines()]
    assert len(set(expected)) == len(rows)
    exports = model_dir / "export" / "esmm"
    signatures = tf.saved_model.load(str(next(exports.glob("[0-9]*")))).signatures
    city = tf.constant([str(row["city"]).encode() for row in rows])
    user = tf.constant(range(len(rows)), tf.int64)
    assert signatures["serving_default"](city=city, user=user)["pctr"].numpy() == pytest.approx(expected, rel=1e-5)
    records = tf.constant([example(row) for row in rows])
    served = signatures["examples:serving_default"](examples=records)["pctr"].numpy()
    assert served == pytest.approx(expected, rel=1e-5)


def example(row: dict[str, object]) -> bytes:
    import tensorflow as tf

    city = tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(row["city"]).encode()]))
    user = tf.train.Feature(int64_list=tf.train.Int64List(value=[row["user"]]))
    text: bytes = tf.train.Example(features=tf.train.Features(feature={"city": city, "user": user})).SerializeToString()
    return text


def test_the_hash_is_the_same_everywhere() -> None:
    """A model that is served by another version must find the rows that it was trained with."""
    from jobs._tf import tf
    from jobs.esmm.input.schema import Feature
    from jobs.esmm.model.model import _ids

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        found = session.run(_ids(tf.constant(["Köln", ""]), Feature(name="city", ids=1000, type="string")))
    assert found.tolist() == HASHED


HASHED = [2, 263]


def test_weights_count_in_evaluations(data: Path, model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--data", str(data), "--model-dir", str(model_dir)]
    found = []
    for weighted in ([], ["--weight-column", "weight"]):
        capsys.readouterr()
        assert main([*command, *weighted]) == 0
        found.append(json.loads(capsys.readouterr().out)["ctr_label_mean"])
    labels = columns(np.random.default_rng(1))
    click, weight = labels["click"], labels["weight"]
    assert found == pytest.approx([click.mean(), (click * weight).sum() / weight.sum()], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weight-column", "wait"], "no single float or int64 for wait; compare the columns"),
        (["--weight-column", "click"], "--weight-column click: that is a feature or a label"),
    ],
)
def test_wrong_weights_are_refused(
    arguments: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(data), "--model-dir", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
