"""What people know from TensorFlow 1, and what serves it here: one test for each row of the README's table.

One cluster is trained, on data that was converted from Ali-CCP's layout; the tests look at what it left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.cli.main import run as tflaunch_here
from tests.e2e.running import Finished, tflaunch

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.legacy]
ROOT = Path(__file__).parents[2]
FIELDS = "101,121,205,206,508,109_14:2"
WATCHED = ("--profile-steps", "10", "--tensorboard", "--log-level", "info")
STOPPING = (
    "--max-steps 100000 --stop-metric ctcvr_cvr_auc_esmm --stop-after-steps 60 --stop-every-steps 5 --stop-min-change 2"
)
USUAL = (
    "--batch-size 100 --throttle-secs 0 --start-delay-secs 0 --save-checkpoints-steps 30 --log-steps 20 --towers 8,4 "
    "--learning-rate 0.0002"
)


@dataclass(frozen=True)
class Trained:
    """The run, and what ran: its data and its folder of checkpoints."""

    done: Finished
    data: Path
    model_dir: Path

    @property
    def report(self) -> dict[str, Any]:
        assert self.done.report is not None
        return self.done.report

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.done.run_dir / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from jobs.convert.cli import main as convert
    from tests.jobs.convert.layouts import write_ali_ccp

    folder = tmp_path_factory.mktemp("notes")
    source = write_ali_ccp(folder / "ali-ccp", rows=8000)
    assert convert(["ali-ccp", str(source), "--out", str(folder / "data"), "--fields", FIELDS]) == 0
    job = ["python", "-m", "jobs.esmm", "train", "--data", str(folder / "data"), "--model-dir", "{model_dir}"]
    roles = ("--workers", "1", "--ps", "1")
    done = tflaunch(
        *("local", *roles, "--run-dir", "run", "--plain", *WATCHED, "--", *job, *STOPPING.split(), *USUAL.split()),
        cwd=folder,
    )
    assert done.code == 0, done.stdout + done.stderr
    return Trained(done, folder / "data", folder / "run" / "model")


@pytest.fixture
def inspect(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Any]:
    def run(*paths: object, feeds: object = None, code: int = 0) -> dict[str, Any]:
        capfd.readouterr()
        words = [*map(str, paths), "--json"]
        if feeds is not None:
            (tmp_path / "feeds.json").write_text(json.dumps(feeds))
            words += ["--run", str(tmp_path / "feeds.json")]
        ended = tflaunch_here(["inspect", *words])
        out, err = capfd.readouterr()
        assert ended == code, err
        return dict(json.loads(out))

    yield run


@pytest.fixture(scope="module")
def frozen(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jobs.esmm.cli import main as esmm

    file = tmp_path_factory.mktemp("frozen") / "unknown.pb"
    out = file.parent / "export"
    assert esmm(["export", "--model-dir", str(trained.model_dir), "--out", str(out), "--frozen", str(file)]) == 0
    return file


def some_rows(data: Path, count: int) -> dict[str, list[int]]:
    from tests.jobs.convert.reading import eval_rows

    rows = eval_rows(data)[:count]
    return {name: [row[name] for row in rows] for name in rows[0] if name not in ("click", "conversion")}


def test_1_variables_are_shared_and_listed_by_collection(trained: Trained, inspect: Any) -> None:
    (meta, *_) = sorted(trained.model_dir.glob("*.meta"))
    collections = inspect(meta)["graphs"][0]["collections"]
    trainable = [item["name"] for item in collections["trainable_variables"]]
    towers = [name for name in trainable if name.startswith(("ctr_tower/", "cvr_tower/"))]
    assert len(towers) == 12 and any("embedding" in name for name in trainable)
    assert not any("embedding" in name for name in towers), "both towers share what is outside of them"
    assert {item["name"] for item in collections["variables"]} > set(trainable)
    assert "summaries" in collections


def test_2_placeholders_are_fed_and_tensors_fetched_by_name(trained: Trained, frozen: Path, inspect: Any) -> None:
    placeholders = {item["tensor"] for item in inspect(frozen)["graphs"][0]["placeholders"]}
    feeds = {f"input_{name}:0": ids for name, ids in some_rows(trained.data, 3).items()}
    assert set(feeds) <= placeholders
    told = inspect(frozen, feeds={"inputs": feeds, "outputs": ["pctr:0", "pctcvr"]})["outputs"]
    assert len(told["pctr:0"]) == len(told["pctcvr"]) == 3
    assert all(0 <= both <= click <= 1 for both, click in zip(told["pctcvr"], told["pctr:0"], strict=True))


def test_3_all_three_formats_give_the_same(trained: Trained, frozen: Path, inspect: Any) -> None:
    rows = some_rows(trained.data, 50)
    exported = trained.model_dir / "export" / "esmm" / "current"
    served = inspect(exported, feeds={"inputs": rows, "outputs": ["pctr", "pctcvr"]})["outputs"]
    feeds = {f"input_{name}:0": ids for name, ids in rows.items()}
    by_graph = inspect(frozen, feeds={"inputs": feeds, "outputs": ["pctr:0", "pctcvr:0"]})["outputs"]
    for name in ("pctr", "pctcvr"):
        assert by_graph[f"{name}:0"] == pytest.approx(served[name], rel=1e-5)
    assert predicted(trained) == pytest.approx(served["pctr"], rel=1e-5)
    assert len(set(served["pctr"])) > 20


def predicted(trained: Trained) -> list[float]:
    """By the checkpoint."""
    import contextlib
    import io

    from jobs.esmm.cli import main as esmm

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        command = ["predict", "--model-dir", str(trained.model_dir), str(trained.data / "eval"), "--limit", "50"]
        assert esmm(command) == 0
    return [json.loads(line)["pctr"] for line in said.getvalue().splitlines()]


def test_4_a_pb_of_unknown_kind_is_told_apart_by_what_is_in_it(
    trained: Trained, frozen: Path, inspect: Any, tmp_path: Path
) -> None:
    model = inspect(frozen)
    assert model["kind"] == "graph" and model["graphs"][0]["operations"]["Placeholder"] == 1
    other = tmp_path / "also_unknown.pb"
    other.write_bytes((trained.model_dir / "export" / "esmm" / "current" / "saved_model.pb").read_bytes())
    model = inspect(other, code=1)
    assert model["kind"] == "saved_model" and "variables are missing" in model["problems"][0]


def test_5_tfrecords_are_written_and_parsed(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from launcher.estimator.streaming.tools.cli import main as streaming

    table = tmp_path / "rows.csv"
    table.write_text("user,city,price\n1,Rome,1.5\n2,Oslo,2.5\n")
    assert streaming(["convert", str(table), "--out", str(tmp_path / "rows")]) == 0
    capsys.readouterr()
    assert streaming(["head", str(tmp_path / "rows"), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[1]) == {"user": 2, "city": "Oslo", "price": 2.5}
    assert streaming(["count", str(trained.data / "train"), str(trained.data / "eval")]) == 0
    assert "10,000  in all" in capsys.readouterr().out


def test_6_reading_and_training_go_on_side_by_side(trained: Trained) -> None:
    told = trained.report["input"]
    assert told["skipped"] == 0
    trainers = [trained.done.task(name) for name in ("chief:0", "worker:0")]
    assert 0 < told["examples"] <= sum(task["examples"] for task in trainers)  # counted when all of a shard is trained
    waits = [event["input_wait"] for event in trained.events("progressed") if event["input_wait"] is not None]
    assert waits and all(0 <= wait <= 1 for wait in waits)


def test_7_tensorboard_is_there_for_the_time_of_the_run(trained: Trained) -> None:
    states = [event["state"] for event in trained.events("board_changed")]
    assert "up" in states
    assert re.search(r"http://127\.0\.0\.1:\d+/", trained.done.stdout)
    assert list(trained.model_dir.glob("events.out.tfevents.*"))


def test_8_each_message_is_logged_once_in_one_form(trained: Trained) -> None:
    form = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO chief:0 [\w.]+:\d+\] ")
    lines = [line for line in trained.done.log("chief:0").splitlines() if "loss = " in line and "step = " in line]
    assert lines and len(lines) == len(set(lines))
    assert all(form.match(line) for line in lines)


def test_9_what_goes_between_devices_is_seen(trained: Trained) -> None:
    from launcher.timeline.samples import read_folder

    samples, problems = read_folder(trained.done.run_dir / "timeline")
    moved = [size for sample in samples for _, _, size in sample.transfers]
    assert not problems and sum(moved) > 0
    devices = {sample.owner(device) for sample in samples for device in sample.devices}
    assert {"ps:0", "chief:0"} <= devices


def test_10_checkpoints_are_kept_listed_and_refused_where_they_do_not_fit(
    trained: Trained, inspect: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from jobs.esmm.cli import main as esmm

    model = inspect(trained.model_dir)
    steps = [row["step"] for row in model["checkpoints"]]
    assert len(steps) <= 6, "five, and the one that was being evaluated"
    assert model["step"] == steps[-1] == trained.report["checkpoints"][-1]["global_step"]
    code = esmm(["train", "--data", str(trained.data), "--model-dir", str(trained.model_dir), "--towers", "8,6"])
    assert code == 2
    assert f"--warm-start {trained.model_dir}" in capfd.readouterr().err
    assert [row["step"] for row in inspect(trained.model_dir)["checkpoints"]] == steps


def test_11_every_role_did_its_part(trained: Trained) -> None:
    states = {task["task"]: task["state"] for task in trained.report["tasks"]}
    assert states == {"ps:0": "stopped", "chief:0": "succeeded", "worker:0": "succeeded", "evaluator:0": "succeeded"}
    steps = {name: trained.done.task(name)["local_steps"] for name in ("chief:0", "worker:0")}
    assert sum(steps.values()) > 0 and all(count is not None for count in steps.values())
    assert not trained.done.task("evaluator:0")["local_steps"]


def test_12_timelines_of_all_tasks_are_one_trace(trained: Trained, tmp_path: Path) -> None:
    from tests.launcher.timeline.test_timeline import check_format

    traced = [int(file.stem.rpartition("-")[2]) for file in (trained.done.run_dir / "timeline").glob("*.json")]
    assert traced and all(step % 10 == 0 for step in traced), "one step in ten"
    assert tflaunch_here(["timeline", str(trained.done.run_dir), "-o", str(tmp_path / "trace.json")]) == 0
    trace = json.loads((tmp_path / "trace.json").read_text())
    check_format(trace)
    names = {event["pid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    seen: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in names.values()}
    for event in trace["traceEvents"]:
        seen[names[event["pid"]]].setdefault(event["name"], []).append(event)
    for task in ("ps:0", "chief:0", "worker:0", "evaluator:0"):
        assert {"starting", "ready"} <= set(seen[task]), task
    (state,) = seen["worker:0"]["training"]
    for op in ("MatMul", "IteratorGetNext"):  # what a task traced lies within what the launcher saw of it
        # Which kernel multiplies depends on the CPU: with AVX-512 it is _MklMatMul or _MklNativeFusedMatMul.
        traced_ops = [event for name, events in seen["worker:0"].items() if op in name for event in events]
        assert traced_ops, op
        for event in traced_ops:
            assert state["ts"] <= event["ts"] and event["ts"] + event["dur"] <= state["ts"] + state["dur"]
    assert any(event.get("cat") == "op" for events in seen["ps:0"].values() for event in events)
    saved = [event["args"]["global_step"] for event in seen["chief:0"]["checkpoint written"]]
    kept = [row["global_step"] for row in trained.report["checkpoints"]]
    assert saved[-len(kept) :] == kept
    assert seen["evaluator:0"]["evaluation done"][-1]["args"]["global_step"] == saved[-1]


def test_13_training_stops_early_on_a_metric_of_the_evaluator(trained: Trained) -> None:
    assert "Training ends early: no increase of ctcvr_cvr_auc_esmm for " in trained.done.log("chief:0")
    assert "ctcvr_cvr_auc_esmm" in trained.report["metrics"]
    last = trained.report["checkpoints"][-1]["global_step"]
    assert 60 <= trained.report["metrics"]["global_step"] == last < 100_000


def test_the_readme_names_what_is_tested_here() -> None:
    """Thirteen rows, and every command and module of theirs exists."""
    section = (ROOT / "README.md").read_text().partition("## From TensorFlow 1 to here")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|", section, re.M)
    assert rows == [str(number) for number in range(1, 14)]
    tests = {name.split("_")[1] for name in globals() if re.match(r"test_\d+_", name)}
    assert tests == set(rows)
    for module in set(re.findall(r"python -m ([\w.]+)", section)):
        assert (ROOT / module.replace(".", "/") / "__main__.py").exists() or (
            ROOT / f"{module.replace('.', '/')}.py"
        ).exists()
    from click.testing import CliRunner

    from launcher.cli.main import cli

    assert np.all([command in cli.commands for command in re.findall(r"`tflaunch ([a-z]+)", section)])  # type: ignore[attr-defined]
    assert CliRunner().invoke(cli, ["--help"]).exit_code == 0
