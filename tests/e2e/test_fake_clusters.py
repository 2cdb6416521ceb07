"""Whole runs of tasks without TensorFlow: every process is real, and so is every death."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.agent.inside.guard import build, library
from tests.e2e.fake_runs import ENDLESS, GOOD, OPTIONS, Live, events, local, run_id, wait_until, words
from tests.e2e.running import REPORT, alive, environment, tflaunch, tflaunch_argv
from tests.fake_task import spam_bytes
from tests.launcher.agent.inside.guarded import OTHER_KEY, Guarded, listen, write

pytestmark = pytest.mark.e2e


def test_a_good_run(tmp_path: Path) -> None:
    done = local(tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None
    assert (done.report["outcome"], done.report["cause"], done.report["global_step"]) == ("succeeded", None, 10)
    states = {task["task"]: task["state"] for task in done.report["tasks"]}
    assert states == {
        "ps:0": "stopped",
        "chief:0": "succeeded",
        "worker:0": "succeeded",
        "worker:1": "succeeded",
        "evaluator:0": "succeeded",
    }
    assert [done.task(name)["examples"] for name in ("chief:0", "worker:0")] == [320, 288]
    assert alive(run_id(done.run_dir)) == []


def test_a_success_that_only_exit_codes_tell_of_says_so(tmp_path: Path) -> None:
    silent = {"chief": "exit=0", "worker": "exit=0", "evaluator": "exit=0"}
    done = local(tmp_path, roles={**GOOD, **silent})
    assert done.code == 0, done.stdout + done.stderr
    assert "  checked   nothing but exit codes" in done.stdout


def test_every_byte_of_output_arrives_and_no_merged_line_is_mixed(tmp_path: Path) -> None:
    size = int(os.environ.get("TFLAUNCH_TEST_SPAM_BYTES", 4_000_000))
    writers = int(os.environ.get("TFLAUNCH_TEST_WRITERS", 8))
    roles = {f"worker:{index}": f"spam={size}:{index},gate" for index in range(writers)}
    done = local(tmp_path, "--workers", str(writers), roles={**roles, **GOOD})
    assert done.code == 0, done.stdout[-2000:] + done.stderr
    for index in range(writers):
        written = (done.run_dir / "logs" / f"worker-{index}.log").read_bytes()
        expected = spam_bytes(size, index)
        assert (len(written), hashlib.sha256(written).hexdigest()) == (size, hashlib.sha256(expected).hexdigest())
    prefixes = {line.split("|")[0].strip() for line in done.stdout.splitlines() if "progress 20%" in line}
    assert prefixes == set(roles)
    whole = [line for line in done.stdout.splitlines() if "progress" in line]
    assert whole and all(line.split("|", 1)[1].strip() == "progress 20%" for line in whole)


def test_a_worker_that_dies_comes_back_with_the_same_address(tmp_path: Path) -> None:
    roles = {
        "worker:1#1": "env=TF_CONFIG,gate,ready,step=1,crash=SIGKILL",
        "worker:1": "env=TF_CONFIG,gate,ready,step=9,finished=9",
    }
    done = local(tmp_path, roles={**roles, **GOOD})
    assert done.code == 0, done.stdout + done.stderr
    first, second = done.log("worker:1").splitlines()
    assert first == second
    attempts = done.task("worker:1")["attempts"]
    assert [(item["exit"], item["signal"]) for item in attempts] == [(None, 9), (0, None)]
    assert done.report is not None and [item["task"] for item in done.report["recoveries"]] == ["worker:1"]


def test_a_chief_that_fails_for_good_is_the_cause(tmp_path: Path) -> None:
    done = local(tmp_path, roles={**GOOD, "chief": "print=no such flag,exit=2", "worker": "gate,hang"})
    assert done.code == 1
    assert done.report is not None and done.report["cause"]["task"] == "chief:0"
    assert done.report["cause"]["kind"] == "arguments" and "no such flag" in done.report["cause"]["message"]
    assert alive(run_id(done.run_dir)) == []


@pytest.mark.parametrize(
    ("number", "code", "outcome"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "interrupted"), (signal.SIGHUP, 130, "interrupted")],
)
def test_signals_to_the_client(live: Callable[..., Live], number: signal.Signals, code: int, outcome: str) -> None:
    run = live(ENDLESS | {"evaluator": "ready,drain"})
    run.until_training()
    run.client.send_signal(number)
    ended, out = run.end()
    assert (ended, run.report()["outcome"]) == (code, outcome), out
    run.wait_until_gone()


def test_a_second_interrupt_stops_what_ignores_the_first(live: Callable[..., Live]) -> None:
    run = live(ENDLESS | {"chief": "ignore-term,gate,ready,step=1,hang"})
    run.until_training()
    run.client.send_signal(signal.SIGINT)
    run.wait_for("stop_requested", how="interrupt")
    run.client.send_signal(signal.SIGINT)
    assert run.end()[0] == 130
    run.wait_until_gone()


@pytest.mark.parametrize("victim", ["client", "supervisor", "agent", "keeper", "agent and keeper"])
def test_nothing_is_left_when_a_part_of_the_launcher_is_killed(live: Callable[..., Live], victim: str) -> None:
    roles = {"ps": "listen,child,child-setsid,hang", "worker": "gate,ready,step=1,child,child-setsid,hang"}
    run = live(ENDLESS | roles, "--restarts", "0")
    run.until_training()
    parents = {run.pid("chief:0"): 0}
    agent = int(Path(f"/proc/{run.pid('chief:0')}/stat").read_text().rpartition(")")[2].split()[1])
    keeper = int(Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()[1])
    victims = {
        "client": [run.client.pid],
        "supervisor": [run.supervisor()],
        "agent": [agent],
        "keeper": [keeper],
        "agent and keeper": [agent, keeper],
    }
    assert parents
    for pid in victims[victim]:
        os.kill(pid, signal.SIGKILL)
    run.end()
    run.wait_until_gone()


def test_two_runs_never_train_in_one_folder(live: Callable[..., Live], tmp_path: Path) -> None:
    model = tmp_path / "model"
    first = live(ENDLESS, "--model-dir", str(model))
    first.until_training()
    second = local(tmp_path, "--model-dir", str(model), run="second")
    assert second.code == 3
    assert second.report is not None and second.report["cause"]["kind"] == "host"
    assert run_id(first.folder).partition(".")[0] in second.report["cause"]["message"]
    os.kill(first.supervisor(), signal.SIGKILL)
    first.wait_until_gone()
    third = local(tmp_path, "--model-dir", str(model), run="third")
    assert third.code == 0, third.stdout + third.stderr


def test_workers_see_their_own_gpus(tmp_path: Path) -> None:
    spec = tmp_path / "gpus.yaml"
    spec.write_text(
        "hosts: [{name: here, address: 127.0.0.1, gpus: 2}]\n"
        "roles: {ps: {}, chief: {}, worker: {count: 2, gpus: 1}, evaluator: {}}\n"
    )
    roles = {role: f"env=CUDA_VISIBLE_DEVICES,{text}" for role, text in GOOD.items()}
    done = tflaunch(*("local", str(spec), "--no-preload", "--plain", "--run-dir", "run"), *words(**roles), cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    seen = {
        name: json.loads(done.log(name).splitlines()[0])[1] for name in ("worker:0", "worker:1", "ps:0", "evaluator:0")
    }
    assert seen == {"worker:0": "0", "worker:1": "1", "ps:0": "-1", "evaluator:0": "-1"}


def test_a_detached_run_is_seen_and_ended_from_elsewhere(tmp_path: Path) -> None:
    started = tflaunch(
        *("local", "--detach", "--workers", "2", "--no-preload", "--name", "night"),
        *words(**{**ENDLESS, "evaluator": "exit=0"}),
        cwd=tmp_path,
    )
    assert started.code == 0, started.stderr
    (folder,) = (tmp_path / "runs").iterdir()

    def training() -> bool:
        status = tflaunch("status", "--json", cwd=tmp_path)
        tasks = {task["task"]: task["state"] for task in json.loads(status.stdout)["tasks"]}
        trainers = {tasks[name] for name in ("chief:0", "worker:0", "worker:1")}
        return trainers == {"training"} and tasks["evaluator:0"] == "succeeded"

    wait_until(training)
    assert folder.name in tflaunch("ls", cwd=tmp_path).stdout
    assert tflaunch("restart", folder.name, "worker:1", cwd=tmp_path).code == 0
    wait_until(
        lambda: any(
            e["kind"] == "task_changed" and e["task"] == "worker:1" and e["attempt"] == 2 for e in events(folder)
        )
    )
    ended = tflaunch("restart", folder.name, "evaluator:0", cwd=tmp_path)
    assert ended.code == 2 and "evaluator:0 does not run now (succeeded), so it is not restarted" in ended.stderr
    stopped = tflaunch("stop", "--now", cwd=tmp_path)
    assert stopped.code == 0, stopped.stderr
    assert json.loads((folder / REPORT).read_text())["outcome"] == "interrupted"
    assert alive(run_id(folder)) == []
    assert tflaunch("attach", "--plain", cwd=tmp_path).code == 130


def test_many_clusters_at_once_share_no_port(tmp_path: Path) -> None:
    count = int(os.environ.get("TFLAUNCH_TEST_CLUSTERS", 8))
    command = tflaunch_argv("local", *OPTIONS)
    clients = []
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        with (folder / "out.txt").open("wb") as out:
            clients.append(
                subprocess.Popen(
                    [*command, "--timeout-s", "900", *words(**GOOD)],
                    cwd=folder,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            )
    codes = [client.wait(timeout=900) for client in clients]
    assert codes == [0] * count
    held = sorted(held for number in range(count) for held in ports_held(tmp_path / str(number) / "run"))
    assert len(held) == 5 * count
    for (port, _, until), (another, since, _) in itertools.pairwise(held):
        assert port != another or until <= since


def ports_held(folder: Path) -> Iterator[tuple[int, str, str]]:
    """Each port of a run, from when to when: one that has ended may leave a port to one that has not begun."""
    told = events(folder)
    (bound,) = [event for event in told if event["kind"] == "generation_bound"]
    for port in dict(bound["ports"]).values():  # type: ignore[call-overload]
        yield port, str(bound["at"]), str(told[-1]["at"])


def test_tasks_that_go_without_the_guard_are_named(live: Callable[..., Live]) -> None:
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())
    command = ["env", "-u", "LD_PRELOAD", *words(**ENDLESS)[1:]]
    run = live({}, argv=("local", *OPTIONS, "--", *command))
    message = str(run.wait_for("noticed", severity="warning")["message"])
    assert message.startswith(
        "host local: the port of ps:0 is open, and whoever reaches it can run code as you: process "
    )
    run.client.terminate()
    code, said = run.end()
    assert code == 143
    assert "the port of ps:0 is open" in said


def test_a_parameter_server_of_another_run_is_named_and_nobody_trains(
    live: Callable[..., Live], tmp_path: Path
) -> None:
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())
    run = live({**ENDLESS, "ps": "hang"})
    port = dict(run.wait_for("generation_bound")["ports"])["ps:0"]  # type: ignore[call-overload]
    orphan = Guarded(library.path(), write(tmp_path / "guard", {port: OTHER_KEY}))
    listen(orphan, port)
    code, said = run.end()
    orphan.said()
    assert code == 3, said
    assert f"port {port} of ps:0 is served by process {orphan.process.pid} (" in said
    assert run.report()["global_step"] is None
