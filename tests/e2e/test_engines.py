"""A third engine, installed beside tflaunch as a package of its own, runs a cluster: without an edit anywhere."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from launcher.agent.system import processes
from launcher.wire.private import registry
from tests.e2e.fake_runs import ENDLESS, GOOD, Live, events, run_id, words
from tests.e2e.running import TIMEOUT_S, alive, tflaunch
from tests.e2e.test_streaming import make_data
from tests.launcher.hosts import fleet
from tests.soak import checks

HOME = {"on": ["fleet-0"]}
ROLES = {"ps": HOME, "chief": HOME, "worker": {"count": 1, "on": ["fleet-1", "fleet-0"]}, "evaluator": HOME}
OPTIONS = ("run", "spec.yaml", "--no-preload", "--plain", "--run-dir", "run")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is installed."""
    place = tmp_path / "site"
    fleet.install(place)
    paths = (str(place), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return place


def spec(folder: Path, roles: Mapping[str, object] = ROLES, **keys: object) -> None:
    """Parameter server, chief and evaluator on one host, a worker on the other."""
    written = {
        "engine": {"fleet": {"hosts": 2, "folder": str(folder), **keys}},
        "roles": dict(roles),
        "policy": {"lease_s": 1.0, "grace_s": 1.0},
        "model_dir": str(folder / "model"),
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(written))


@pytest.mark.usefixtures("site")
def test_a_refusal_ends_the_run(tmp_path: Path) -> None:
    spec(tmp_path, refuse=["fleet-1"])
    done = tflaunch(*OPTIONS, *words(**GOOD), cwd=tmp_path)
    assert done.code == 3, done.stdout + done.stderr
    assert done.report is not None and done.report["cause"]["kind"] == "host"
    assert done.report["cause"]["message"] == "host fleet-1: the fleet is at sea"
    assert alive(run_id(tmp_path / "run")) == []


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("fault", ["init", "ask"])
def test_an_engine_that_cannot_be_asked_is_the_cause(tmp_path: Path, fault: str) -> None:
    spec(tmp_path, fault=fault)
    done = tflaunch(*OPTIONS, *words(**GOOD), cwd=tmp_path)
    assert done.code == 3, done.stdout + done.stderr
    assert (
        done.report is not None
        and "could not be asked: RuntimeError: no fleet today" in done.report["cause"]["message"]
    )


@pytest.mark.usefixtures("site")
def test_an_engine_that_blocks_is_left_in_the_middle(tmp_path: Path) -> None:
    spec(tmp_path, fault="blocked")
    done = tflaunch(*OPTIONS, *words(**GOOD), cwd=tmp_path)
    assert done.code == 3, done.stdout + done.stderr
    assert done.report is not None
    assert "could not be asked: BlockedError: it has blocked for 10 s" in done.report["cause"]["message"]


@pytest.mark.usefixtures("site")
def test_an_engine_that_does_not_end_keeps_no_run_from_its_end(tmp_path: Path) -> None:
    spec(tmp_path, fault="close")
    done = tflaunch(*OPTIONS, *words(**GOOD), cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    assert "the engine could not be closed within 10 s" in done.stdout
    assert alive(run_id(tmp_path / "run")) == []


@pytest.mark.usefixtures("site")
def test_a_late_grant_is_waited_for(tmp_path: Path) -> None:
    spec(tmp_path)
    late = tmp_path / "fleet-1.late"
    late.touch()
    run = Live(tmp_path, GOOD, argv=OPTIONS)
    run.wait_for("phase_changed", phase="allocating")
    run.wait_for("host_changed", host="fleet-0", state="up")
    assert not [event for event in events(run.folder) if event["kind"] == "task_changed"]
    late.unlink()
    code, out = run.end()
    assert code == 0, out
    assert {task["task"]: task["host"] for task in run.report()["tasks"]} == {
        **dict.fromkeys(("ps:0", "chief:0", "evaluator:0"), "fleet-0"),
        "worker:0": "fleet-1",
    }
    run.wait_until_gone()


@pytest.mark.usefixtures("site")
def test_a_lost_host_is_left_and_the_run_goes_on(tmp_path: Path) -> None:
    spec(tmp_path)
    go = tmp_path / "go"
    roles = {
        **GOOD,
        "chief": f"gate,ready,saved=5,step=10:320,wait-file={go},finished=10,barrier,saved=10",
        "worker": f"gate,ready,step=9:288,wait-file={go},finished=9",
    }
    run = Live(tmp_path, roles, argv=OPTIONS)
    run.until_training("chief:0", "worker:0")
    kill_host(run_id(run.folder), "fleet-1")
    (tmp_path / "fleet-1.lost").touch()
    run.wait_for("move_over")
    go.touch()
    code, out = run.end()
    assert code == 0, out
    assert {task["host"] for task in run.report()["tasks"]} == {"fleet-0"}
    run.wait_until_gone()


@pytest.mark.usefixtures("site")
def test_another_host_takes_the_place_of_a_lost_one(tmp_path: Path) -> None:
    """First that of a worker, which must be there, then that of the parameter server; the others carry on."""
    go, beats = tmp_path / "go", tmp_path / "beats"
    beats.mkdir()
    (beats / "began").write_text(str(time.time()))
    roles = {
        "ps": {"on": ["fleet-0"]},
        "chief": {"on": ["fleet-1"]},
        "worker": {"count": 1, "min": 1, "on": ["fleet-2"]},
    }
    spec(tmp_path, roles=roles, hosts=3, replaceable=True)
    program = str(Path(__file__).parents[1] / "hosts" / "roaming_task.py")
    run = Live(tmp_path, {}, argv=(*OPTIONS, "--", "python", program, str(beats), str(go)))
    run.until_training("chief:0", "worker:0")
    for host, task in (("fleet-2", "worker:0"), ("fleet-0", "ps:0")):
        late = tmp_path / f"{host}.2.late"
        late.touch()
        kill_host(run_id(run.folder), host)
        (tmp_path / f"{host}.lost").touch()
        run.wait_for("host_changed", host=host, state="lost")
        late.unlink()
        run.wait_for("task_changed", host=f"{host}.2", task=task, state="training" if task == "worker:0" else "ready")
    go.touch()
    code, out = run.end()
    assert code == 0, out
    report = run.report()
    assert report["generation"] == 1
    assert "another host is asked for in the place of fleet-0: fleet-0.2" in out
    run.wait_until_gone()


@pytest.mark.usefixtures("site")
def test_stop_finds_the_hosts_of_a_run_whose_supervisor_is_gone(tmp_path: Path) -> None:
    spec(tmp_path)
    run = Live(tmp_path, ENDLESS, argv=OPTIONS)
    run.until_training("chief:0", "worker:0")
    os.kill(run.supervisor(), signal.SIGKILL)
    run.client.communicate(timeout=TIMEOUT_S)
    done = tflaunch("stop", "run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    run.wait_until_gone()


def kill_host(run: str, host: str) -> None:
    """Every process of the run on that host dies at once: keeper, agent, tasks."""
    homes = [home.path for home in registry.every(f"{run}@{host}")]
    keepers = [pid for pid in alive(run) if any(f"guard {home}" in _title(pid) for home in homes)]
    assert keepers
    family = processes.descendants(keepers, processes.snapshot())
    for pid in (*keepers, *family):
        os.kill(pid, signal.SIGKILL)


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


@pytest.mark.soak
@pytest.mark.tensorflow
@pytest.mark.usefixtures("site")
def test_training_goes_on_on_the_new_host(tmp_path: Path) -> None:
    """The host of the only parameter server, with real TensorFlow: every example is in what is saved last."""
    data = make_data(tmp_path / "data", shards=100, most_rows=60)
    options = {
        "model_dir": str(tmp_path / "model"), "audit": str(tmp_path / "audit"), "sources": [str(data.folder)],
        "epochs": checks.EPOCHS, "batch": 8, "save_steps": 40, "step_s": 0.05, "signed": str(tmp_path / "signed"),
        "noise_mib": 0,
    }  # fmt: skip
    roles = {"ps": {"on": ["fleet-0"]}, "chief": {"on": ["fleet-1"]}, "worker": {"on": ["fleet-1"]}}
    spec(tmp_path, roles=roles, replaceable=True)
    command = ("--", "python", "-m", "tests.soak.job", json.dumps(options))
    run = Live(tmp_path, {}, argv=(*(word for word in OPTIONS if word != "--no-preload"), *command))
    run.until_training("chief:0", "worker:0")
    run.wait_for("checkpoint_written")
    kill_host(run_id(run.folder), "fleet-0")
    (tmp_path / "fleet-0.lost").touch()
    code, out = run.end()
    assert code == 0, out
    report = run.report()
    assert [task["host"] for task in report["tasks"] if task["task"] == "ps:0"] == ["fleet-0.2"]
    assert report["generation"] == 1
    checks.every_example_was_trained(tmp_path / "audit", data.rows, report)
