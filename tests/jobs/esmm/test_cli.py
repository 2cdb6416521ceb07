"""What is refused before TensorFlow is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.esmm.cli import main
from jobs.esmm.flags import make_parser
from jobs.esmm.options import StopOptions, TrainOptions
from jobs.esmm.parsed import train_options
from jobs.esmm.task import resolve_model_dir, this_task

NO_TENSORFLOW = """
import sys
from jobs.esmm.cli import main
from jobs.esmm.flags import make_parser
from jobs.esmm.parsed import train_options
from jobs.esmm.options import StopOptions, TrainOptions
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = {"tensorflow", "numpy", "rich", "tensorflow_estimator"} & sys.modules.keys()
sys.exit(f"imported {heavy}" if heavy else code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["train", "--batch-size", "0"], 2),
        (["generate", "--if-missing", "--out", "SAMPLE"], 0),
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str], code: int, sample: Path) -> None:
    command = [sys.executable, "-c", NO_TENSORFLOW, *(str(sample) if a == "SAMPLE" else a for a in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr.count("imported")) == (code, 0), result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--batch-size", "0"], "argument --batch-size: '0' is not a whole number, 1 or more"),
        (["train", "--learning-rate", "nan"], "argument --learning-rate: 'nan' is not a number above 0"),
        (["train", "--towers", "64,x"], "argument --towers: 'x' is not a whole number, 1 or more"),
        (["train", "--optimizer", "magic"], "argument --optimizer: invalid choice: 'magic'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_flag_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith(f"esmm: error: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "tf_config", "message"),
    [
        (["--data", "SAMPLE"], "{}", "no model_dir: give --model-dir, or model_dir in TF_CONFIG"),
        (["--data", "SAMPLE"], "{", "TF_CONFIG is not the JSON object"),
        (["--data", "SAMPLE"], "[]", "TF_CONFIG is not the JSON object"),
        (
            ["--data", "SAMPLE", "--model-dir", "/a"],
            json.dumps({"model_dir": "/b"}),
            "--model-dir /a is not the model_dir of TF_CONFIG, /b; leave one out",
        ),
        (["--data", "/nowhere", "--model-dir", "/a"], "{}", "no data: there is no folder /nowhere; make sample data"),
        (["--data", "EMPTY", "--model-dir", "/a"], "{}", "has no files named *.tfrecord*"),
        (["--data", "SAMPLE", "--schema", "/nowhere", "--model-dir", "/a"], "{}", "no schema at /nowhere"),
    ],
)
def test_bad_data_and_surroundings_get_one_line(
    arguments: list[str],
    tf_config: str,
    message: str,
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config)
    places = {"SAMPLE": str(sample), "EMPTY": str(tmp_path)}
    assert main(["train", *(places.get(argument, argument) for argument in arguments)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("esmm: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "tf_config", "chosen"), [(None, None, "/run/model"), (None, "/c", "/c"), ("/a", None, "/a")]
)
def test_a_run_lends_its_model_dir_to_a_job_without_one(flag: str | None, tf_config: str | None, chosen: str) -> None:
    config = {"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}, "model_dir": tf_config}
    around = {"TF_CONFIG": json.dumps(config), "TFLAUNCH_DEFAULT_MODEL_DIR": "/run/model"}
    assert resolve_model_dir(flag, this_task(around)) == chosen


def test_a_model_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(JobError, match=r"model is a file; name a folder"):
        resolve_model_dir(str(tmp_path / "model"), this_task({}))


def parsed(*arguments: str) -> TrainOptions:
    return train_options(make_parser().parse_args(["train", *arguments]))


def test_checkpoints_are_saved_as_tf_estimator_saves_them() -> None:
    usual = parsed()
    assert (usual.save_checkpoints_secs, usual.save_checkpoints_steps, usual.keep_checkpoints) == (600, None, 5)
    by_steps = parsed("--save-checkpoints-steps", "50")
    assert (by_steps.save_checkpoints_secs, by_steps.save_checkpoints_steps) == (None, 50)


def test_a_preset_gives_way_to_flags() -> None:
    def model(*arguments: str) -> tuple[object, ...]:
        found = parsed(*arguments)
        return found.embedding_dim, found.towers, found.optimizer, found.learning_rate

    assert model() == (8, (64, 32), "lazy-adam", 0.006)
    assert model("--preset", "paper") == (18, (360, 200, 80), "lazy-adam", 0.001)
    assert model("--optimizer", "adam", "--towers", "9", "--preset", "paper") == (18, (9,), "adam", 0.001)


def test_early_stopping_is_asked_for_by_a_number_of_steps() -> None:
    assert parsed().stop is None
    stop = parsed("--stop-after-steps", "500", "--stop-min-change", "0.001").stop
    assert stop == StopOptions(
        metric="ctcvr_cvr_auc_esmm", after_steps=500, min_steps=0, min_change=0.001, every_steps=100
    )


def test_names_of_a_warm_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("--warm-start-names", "a=b,c/=d/").warm_start_names == (("a", "b"), ("c/", "d/"))
    with pytest.raises(SystemExit):
        parsed("--warm-start-names", "a")
    assert "'a' is not NEW=OLD,NEW=OLD" in capsys.readouterr().err
