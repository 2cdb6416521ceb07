"""``tflaunch inspect`` on real models in every form, whole and damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.main import run as tflaunch

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.launcher.estimator.inspection import models

    folder = tmp_path_factory.mktemp("models")
    models.write(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "models"))


class Inspect:
    """Runs the command in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        self._capfd = capfd
        self._feeds = tmp_path / "feeds.json"
        self.error = ""

    def text(self, *arguments: object) -> tuple[int, str]:
        self._capfd.readouterr()
        code = tflaunch(["inspect", *map(str, arguments)])
        out, self.error = self._capfd.readouterr()
        return code, out

    def json(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        code, out = self.text(*arguments, "--json")
        return code, json.loads(out) if out else {}

    def run(self, path: object, request: object, *more: object) -> tuple[int, dict[str, Any]]:
        self._feeds.write_text(json.dumps(request))
        return self.json(path, *more, "--run", self._feeds)


@pytest.fixture
def inspect(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Inspect:
    return Inspect(capfd, tmp_path)


VARIABLES = {
    "global_step": ("int64", []),
    "tower/bias": ("float32", [1]),
    "tower/weights": ("float32", [2, 1]),
    "tower/weights/ExponentialMovingAverage": ("float32", [2, 1]),
}


def variables(model: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    return {item["name"]: (item["dtype"], item["shape"]) for item in model["variables"]}


def test_a_folder_of_checkpoints(inspect: Inspect, folder: Path) -> None:
    code, model = inspect.json(folder / "checkpoints")
    assert (code, model["kind"], model["step"], variables(model)) == (0, "checkpoint", 250, VARIABLES)
    assert [(row["step"], row["latest"]) for row in model["checkpoints"]] == [(1, False), (250, True)]
    code, out = inspect.text(folder / "checkpoints")
    assert code == 0
    assert "tower/weights/ExponentialMovingAverage" in out
    assert "latest" in out


@pytest.mark.parametrize("name", ["model.ckpt-1", "model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"])
def test_one_checkpoint_by_any_of_its_names(inspect: Inspect, folder: Path, name: str) -> None:
    code, model = inspect.json(folder / "checkpoints" / name)
    assert (code, model["kind"], model["step"], variables(model)) == (0, "checkpoint", 1, VARIABLES)


def test_a_meta_graph_has_its_collections(inspect: Inspect, folder: Path) -> None:
    code, model = inspect.json(folder / "checkpoints" / "model.ckpt-250.meta")
    assert (code, model["kind"], variables(model)) == (0, "meta_graph", VARIABLES)
    graph = model["graphs"][0]
    members = {name: [item["name"] for item in items] for name, items in graph["collections"].items()}
    assert members["trainable_variables"] == ["tower/weights:0"]
    assert set(members["variables"]) == {f"{name}:0" for name in VARIABLES}
    assert members["moving_average_variables"] == ["tower/weights:0"]
    assert members["summaries"] == ["mean_1:0"]
    assert members["queue_runners"] == ["input_queue"]
    weights = graph["collections"]["trainable_variables"][0]
    assert (weights["dtype"], weights["shape"]) == ("float32", [2, 1])
    assert {"tensor": "x:0", "dtype": "float32", "shape": [None, 2], "name": ""} in graph["placeholders"]


def test_a_frozen_graph(inspect: Inspect, folder: Path) -> None:
    code, model = inspect.json(folder / "frozen.pb")
    graph = model["graphs"][0]
    assert (code, model["kind"], graph["operations"]["MatMul"]) == (0, "graph", 1)
    assert [item["tensor"] for item in graph["placeholders"]] == ["x:0"]
    assert [item["tensor"] for item in graph["outputs"]] == ["y:0"]


def test_a_graph_as_text(inspect: Inspect, folder: Path) -> None:
    code, model = inspect.json(folder / "graph.pbtxt")
    assert (code, model["kind"]) == (0, "graph")
    assert "FIFOQueueV2" in model["graphs"][0]["operations"]


@pytest.mark.parametrize("name", ["export", "export/2", "export/2/saved_model.pb"])
def test_a_saved_model_by_folder_or_file(inspect: Inspect, folder: Path, name: str) -> None:
    code, model = inspect.json(folder / name)
    assert (code, model["kind"], variables(model)) == (0, "saved_model", VARIABLES)
    graph = model["graphs"][0]
    assert graph["tags"] == ["serve"]
    (signature,) = graph["signatures"]
    assert (signature["key"], signature["inputs"][0]["name"]) == ("serving_default", "x")
    code, out = inspect.text(folder / name)
    assert "signature serving_default" in out


def test_a_saved_model_by_its_file_alone_is_as_large_as_that(inspect: Inspect, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "unknown.pb"
    file.write_bytes((folder / "export" / "2" / "saved_model.pb").read_bytes())
    (tmp_path / "of_others").write_bytes(b"0" * 1_000_000)
    assert inspect.json(file)[1]["bytes"] == file.stat().st_size
    parts = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    sizes = [(folder / "export" / "2" / part).stat().st_size for part in parts]
    assert inspect.json(folder / "export" / "2" / parts[0])[1]["bytes"] == sum(sizes)


# --- comparing ---------------------------------------------------------------------------------------------------


def test_two_steps_of_one_training_differ_in_values_alone(inspect: Inspect, folder: Path) -> None:
    one, two = (folder / "checkpoints" / f"model.ckpt-{step}" for step in (1, 250))
    code, body = inspect.json(one, two)
    changes = {(item["what"], item["name"]): item["change"] for item in body["differences"]}
    assert code == 1
    assert changes == {
        ("step", ""): "changed",
        ("variable", "global_step"): "values",
        ("variable", "tower/weights"): "values",
    }
    assert inspect.json(one, one)[0] == 0


def test_a_changed_vocabulary_is_named(inspect: Inspect, folder: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("tower/weights", [6, 1])
        v1.get_variable("tower/bias", [1], tf.float64)
        v1.get_variable("new", [])
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "other.ckpt"), write_meta_graph=False)
    _, body = inspect.json(folder / "checkpoints" / "model.ckpt-250", tmp_path / "other.ckpt")
    changes = {item["name"]: (item["change"], item["before"], item["after"]) for item in body["differences"]}
    assert changes["tower/weights"] == ("reshaped", "float32 [2, 1]", "float32 [6, 1]")
    assert changes["tower/bias"] == ("other type", "float32 [1]", "float64 [1]")
    assert changes["new"][0] == "added"
    assert changes["global_step"][0] == "removed"


# --- running -----------------------------------------------------------------------------------------------------

ROWS = {"x": [[1.0, 2.0], [0.0, 0.5]]}
RESULT = [[22.5], [5.5]]  # weights [[2], [10]], bias 0.5


@pytest.mark.parametrize("name", ["export/1", "export", "frozen.pb", "checkpoints", "checkpoints/model.ckpt-250.meta"])
def test_every_form_of_the_model_gives_the_same(inspect: Inspect, folder: Path, name: str) -> None:
    code, body = inspect.run(folder / name, {"inputs": ROWS, "outputs": ["y"]})
    assert (code, body.get("outputs")) == (0, {"y": RESULT}), inspect.error


def test_two_are_run_and_compared(inspect: Inspect, folder: Path) -> None:
    code, body = inspect.run(folder / "frozen.pb", {"inputs": ROWS, "outputs": ["y"]}, folder / "export")
    assert (code, body["differences"]) == (0, {})
    earlier = folder / "checkpoints" / "model.ckpt-1"
    code, body = inspect.run(folder / "frozen.pb", {"inputs": ROWS, "outputs": ["y"]}, earlier)
    assert code == 1
    assert "1 of 2 values, by 1 at most" in body["differences"]["y"]


@pytest.mark.parametrize(
    ("name", "request_", "said"),
    [
        ("export", {"inputs": {"X": [[1, 2]]}}, "no input 'X' of signature serving_default"),
        ("export", {"inputs": {"x": [[1.0, 2.0, 3.0]]}}, r"shape \[1, 3\] does not fit \[\?, 2\]"),
        ("export", {"inputs": {"x": [[1.0], [2.0, 3.0]]}}, "rows have different lengths"),
        ("export", {"inputs": {"x": [["a", "b"]]}}, "no float32"),
        ("export", {"inputs": ROWS, "outputs": ["yy"]}, "do you mean 'y'"),
        ("export", {"inputs": ROWS, "signature": "serving"}, "no signature 'serving'; do you mean 'serving_default'"),
        ("export", {"inputs": ROWS, "tags": ["gpu"]}, "no graph with the tags gpu; there are serve"),
        ("export", {"inputs": {}}, "need the input 'x'"),
        ("export", {"input": ROWS}, '"inputs"'),
        ("export", {"inputs": ROWS, "output": ["y"]}, "unknown key 'output'; do you mean 'outputs'"),
        ("export", {"inputs": ROWS, "timeout_s": -1}, "timeout_s must be"),
        ("frozen.pb", {"inputs": ROWS}, "name what to fetch"),
        ("frozen.pb", {"inputs": ROWS, "outputs": ["yy"]}, "no output 'yy'; do you mean"),
        ("frozen.pb", {"inputs": ROWS, "signature": "s"}, "only a SavedModel has signatures"),
        ("graph.pbtxt", {"inputs": ROWS, "outputs": ["y"]}, "name the checkpoint instead"),
        ("graph.pbtxt", {"inputs": {}, "outputs": ["from_queue"], "timeout_s": 0.2}, "no result within 0.2 s"),
    ],
)
def test_a_request_that_does_not_fit_is_explained(
    inspect: Inspect, folder: Path, name: str, request_: dict[str, Any], said: str
) -> None:
    import re

    code, body = inspect.run(folder / name, request_)
    assert (code, body) == (2, {})
    assert re.search(said, inspect.error), inspect.error


def test_a_request_that_is_no_json_names_its_file(inspect: Inspect, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{inputs: 1}")
    assert inspect.json(folder / "export", "--run", tmp_path / "broken.json")[0] == 2
    assert "broken.json: not JSON" in inspect.error
    assert inspect.json(folder / "export", "--run", tmp_path / "none.json")[0] == 2
    assert "none.json: No such file" in inspect.error


# --- damage ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_without_its_data(inspect: Inspect, folder: Path) -> None:
    data = folder / "checkpoints" / "model.ckpt-250.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10])
    code, model = inspect.json(folder / "checkpoints" / "model.ckpt-250")
    assert (code, variables(model)) == (1, VARIABLES)
    assert model["problems"] == ["its data is incomplete: 10 bytes of at least 28"]
    data.unlink()
    code, model = inspect.json(folder / "checkpoints")
    assert code == 1
    assert model["problems"] == [f"model.ckpt-250: its data file {data.name} is missing"]
    assert inspect.run(folder / "checkpoints", {"inputs": ROWS, "outputs": ["y"]})[0] == 2


def test_a_damaged_index(inspect: Inspect, folder: Path) -> None:
    index = folder / "checkpoints" / "model.ckpt-1.index"
    index.write_bytes(b"\0" * 200)
    assert inspect.json(folder / "checkpoints" / "model.ckpt-1")[0] == 2
    assert "its index cannot be read" in inspect.error
    code, model = inspect.json(folder / "checkpoints")
    assert (code, model["step"]) == (1, 250)
    assert "cannot be read" in model["problems"][0]


def test_a_state_file_that_names_what_is_gone(inspect: Inspect, folder: Path) -> None:
    for path in (folder / "checkpoints").glob("model.ckpt-250.*"):
        path.unlink()
    code, model = inspect.json(folder / "checkpoints")
    assert (code, model["step"]) == (1, 1)
    assert "names model.ckpt-250 as the latest, which is not there" in model["problems"][0]


def test_a_saved_model_that_is_damaged_inside(inspect: Inspect, folder: Path) -> None:
    shutil.rmtree(folder / "export" / "2" / "variables")
    code, model = inspect.json(folder / "export" / "2")
    assert code == 1
    assert "its variables are missing" in model["problems"][0]
    path = folder / "export" / "1" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-50])
    assert inspect.json(folder / "export" / "1")[0] == 2
    assert "incomplete" in inspect.error
