"""A host that is lost for good: the run goes on without it, and what comes back late finds nothing of ours to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import freezer
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import SHARED, Network
from tests.hosts.running import ROLES, Live, StartLive, live, spec, wait_until, wait_until_gone

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

LEASE_S = 4.0
PATIENT = {"lease_s": LEASE_S, "grace_s": 1.0, "restarts": 0}
ANYWHERE = {**ROLES, "evaluator": {"on": ["c", "a"]}}
TO_THE_END = f"gate,ready,step=9:288,wait-file={SHARED}/go,finished=9"
WORDS = {
    "ps": "listen,ready,hang",
    "chief": f"gate,ready,saved=5,step=10:320,wait-file={SHARED}/go,finished=10,barrier,saved=10",
    "worker": f"env=TF_CONFIG,{TO_THE_END}",
    "evaluator": "ready,drain",
}


def test_a_host_that_is_cut_off_for_good_costs_a_new_generation(three_hosts: Network, live: StartLive) -> None:
    policy = {**PATIENT, "lost_hosts": 1}
    run = live(three_hosts, spec(three_hosts, words=WORDS, policy=policy, roles=ANYWHERE, model_dir=f"{SHARED}/model"))
    run.until_training()
    host = three_hosts.host("c")
    host.cut()
    try:
        run.wait_for("move_over")
        assert not host.ours(), "its tasks ended before others took their place"
    finally:
        host.mend()
    (three_hosts.shared / "go").touch()
    assert run.end() == 0, run.said
    report = run.report()
    assert (report["outcome"], report["cause"], report["generation"]) == ("succeeded", None, 2)
    where = {task["task"]: task["host"] for task in report["tasks"]}
    assert "c" not in where.values()
    assert [(move["host"], move["tasks"]) for move in report["moves"]] == [
        ("c", {name: where[name] for name in ("worker:2", "evaluator:0")})
    ]
    (recovery,) = [item for item in report["recoveries"] if item["task"] is None]
    assert (recovery["hosts"], recovery["generation"], recovery["steps_rolled_back"]) == (["c"], 2, 0)
    assert all(task["restarts"] == 0 and len(task["attempts"]) == 2 for task in report["tasks"])
    told = [json.loads(line)[1] for line in run.log("worker:0").splitlines()]
    old, new = (set(json.loads(text)["cluster"]["worker"]) for text in told)
    assert len(new) == 3 and not old & new, "everybody has a new address"
    assert not [address for address in new if address.startswith(f"{host.address}:")]
    wait_until_gone(three_hosts)


@pytest.mark.soak
@pytest.mark.tensorflow
def test_the_shared_job_trains_on_without_the_host_of_its_chief(three_hosts: Network, live: StartLive) -> None:
    data = three_hosts.shared / "data"
    generate = ["-m", "jobs.esmm", "generate", "--out", str(data), "--train-examples", "300000"]
    subprocess.run([sys.executable, *generate, "--eval-examples", "20000"], check=True, capture_output=True)
    command = ["python", "-m", "jobs.esmm", "train", "--data", f"{SHARED}/data", "--model-dir", "{model_dir}"]
    on = ["a", "b", "c"]
    roles = {"ps": {"count": 1, "on": ["b", "c"]}, "chief": {"on": on}, "worker": {"count": 2, "on": ["b", "c"]}}
    policy = {**PATIENT, "lease_s": 9.0, "grace_s": 10.0, "restarts": 3}
    written = spec(
        three_hosts,
        command=[*command, "--max-steps", "2000", "--save-checkpoints-steps", "100"],
        model_dir=f"{SHARED}/trained",
        preload=["tensorflow"],
        roles={**roles, "evaluator": {"on": ["b", "c"]}},
        policy=policy,
    )
    run = live(three_hosts, written)
    wait_until(lambda: len(run.events("checkpoint_written")) >= 2, "for checkpoints", 240.0)
    host = three_hosts.host("a")
    host.cut()
    try:
        wait_until(lambda: run.events("move_over"), "for the chief's tasks", 240.0)
    finally:
        host.mend()
    assert run.client.wait(400.0) == 0, run.said
    report = run.report()
    assert (report["outcome"], report["generation"]) == ("succeeded", 1), "they moved alone"
    assert report["global_step"] >= 2000
    assert {task["task"]: task["host"] for task in report["tasks"]}["chief:0"] in ("b", "c")
    assert report["metrics"]["global_step"] == report["checkpoints"][-1]["global_step"]
    wait_until_gone(three_hosts)


@pytest.mark.parametrize("when", ["while the next one trains", "after the end"])
def test_a_host_that_was_frozen_writes_nothing_any_more(three_hosts: Network, live: StartLive, when: str) -> None:
    """Its chief is replacing a file when it goes on, before anybody else there does, and knows nothing of it all."""
    if why := freezer.missing():
        pytest.skip(why)
    name = when.replace(" ", "-")
    model, go = f"{SHARED}/{name}", three_hosts.shared / f"go-{name}"
    words = {
        "chief#1": f"gate,ready,saved=5,step=10:320,rewrite={model}:1000000",
        **WORDS,
        "worker": "gate,ready,step=9:288,finished=9",
        "chief": f"gate,ready,step=20:320,rewrite={model}:1,wait-file={SHARED}/{go.name},finished=20,barrier,saved=20",
    }
    roles = {**ANYWHERE, "chief": {"on": ["c", "b"]}, "worker": {"count": 3, "on": ["a", "b", "a"]}}
    written = spec(three_hosts, words=words, policy={**PATIENT, "lost_hosts": 1}, roles=roles, model_dir=model)
    run = live(three_hosts, written)
    checkpoint = three_hosts.shared / name / "checkpoint"
    host = three_hosts.host("c")
    wait_until(checkpoint.exists)
    with host.frozen("chief:0") as (tasks, rest):
        run.wait_for("move_over")
        wait_until(lambda: checkpoint.read_text() == "2")
        if when == "after the end":
            go.touch()
            assert run.end() == 0, run.said
        tasks.thaw()
        wait_until(lambda: not any("chief:0" in words for words in host.processes().values()))
        rest.thaw()
        assert checkpoint.read_text() == "2"
    go.touch()
    assert run.end() == 0, run.said
    wait_until_gone(three_hosts)


STEPS, EVERY = 4000, 100  # enough for the next chief to save ten times, though its worker trains on alone before
_CHIEF = {"task": "chief:0", "attempt": 2}
# What the next chief does when the former one is thawed.
INSTANTS: dict[str, Callable[[Live, Path], object]] = {
    "restores": lambda run, model: run.events("task_changed", state="starting", **_CHIEF),
    "has its session": lambda run, model: run.events("task_changed", state="ready", **_CHIEF),
    "trains": lambda run, model: run.events("task_changed", state="training", **_CHIEF),
    "saves": lambda run, model: len(saved_by_the_next(run)) >= 1,
    "saves again": lambda run, model: len(saved_by_the_next(run)) >= 4,
    "saves for the tenth time": lambda run, model: len(saved_by_the_next(run)) >= 10,
    "has done its last step": lambda run, model: run.events("task_changed", state="finished", **_CHIEF),
    "has saved for the last time": lambda run, model: (
        saved_by_the_next(run)[-1:] and saved_by_the_next(run)[-1]["global_step"] >= STEPS
    ),
    "exports": lambda run, model: list(model.glob("export/*/*")),
    "has ended": lambda run, model: run.client.poll() is not None,
}


def saved_by_the_next(run: Live) -> list[dict[str, Any]]:
    began = [event["n"] for event in run.events("task_changed", state="starting", **_CHIEF)]
    return [event for event in run.events("checkpoint_written") if began and event["n"] > began[0]]


@pytest.mark.soak
@pytest.mark.tensorflow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("instant", INSTANTS)
def test_a_chief_of_long_ago_harms_no_checkpoint(
    three_hosts: Network, live: StartLive, tmp_path: Path, instant: str
) -> None:
    """Whatever the next one does when it is thawed: what is newest stays the newest, and the next run begins there."""
    if why := freezer.missing():
        pytest.skip(why)
    data = three_hosts.shared / "data"
    if not data.exists():
        generate = ["-m", "jobs.esmm", "generate", "--out", str(data), "--train-examples", "300000"]
        subprocess.run([sys.executable, *generate, "--eval-examples", "20000"], check=True, capture_output=True)
    model = three_hosts.shared / f"frozen-{instant.replace(' ', '-')}"
    command = ["python", "-m", "jobs.esmm", "train", "--data", f"{SHARED}/data", "--model-dir", "{model_dir}"]
    roles = {"ps": {"on": ["b"]}, "chief": {"on": ["a", "b"]}, "worker": {"on": ["b"]}, "evaluator": {"on": ["b"]}}
    written = spec(
        three_hosts,
        command=[*command, "--max-steps", str(STEPS), "--save-checkpoints-steps", str(EVERY)],
        model_dir=f"{SHARED}/{model.name}",
        preload=["tensorflow"],
        roles=roles,
        policy={**PATIENT, "lease_s": 6.0, "grace_s": 10.0, "restarts": 3},
    )
    run = live(three_hosts, written)
    wait_until(lambda: len(run.events("checkpoint_written")) >= 2, "for checkpoints", 240.0)
    with three_hosts.host("a").frozen("chief:0") as (tasks, rest):
        wait_until(lambda: INSTANTS[instant](run, model), f"until the next chief {instant}: {run.said}", 600.0)
        before = _files(model)
        tasks.thaw()  # a little ahead of its agent, which would end it
        rest.thaw()
        wait_until(lambda: not any("chief:0" in words for words in three_hosts.host("a").processes().values()))
    assert run.client.wait(600.0) == 0, run.said
    if instant == "has ended":
        assert _files(model) == before
    newest = run.report()["checkpoints"][-1]["global_step"]
    assert f'model_checkpoint_path: "model.ckpt-{newest}"' in (model / "checkpoint").read_text()
    assert newest >= STEPS and (model / f"model.ckpt-{newest}.index").exists()
    wait_until_gone(three_hosts)
    run.folder.rename(tmp_path / "first")
    more = [*command, "--max-steps", str(STEPS + EVERY), "--save-checkpoints-steps", str(EVERY)]
    again = live(three_hosts, {**written, "command": more})
    assert again.client.wait(600.0) == 0, again.said
    steps = [event["global_step"] for event in again.events("checkpoint_written")]
    assert steps[0] == newest and steps[-1] >= STEPS + EVERY, "the next run restores what was newest"
    wait_until_gone(three_hosts)


def _files(folder: Path) -> dict[str, int]:
    """What a later run, or a server of the model, reads. To its own journal and events a chief may still append."""
    paths = [*folder.glob("checkpoint"), *folder.glob("model.ckpt*"), *folder.glob("export/**/*")]
    return {str(path): path.stat().st_mtime_ns for path in paths}
