"""TensorBoard beside a run: it answers at the address that is printed, and is gone with the run, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlencode

import pytest

from launcher.agent.tasks import board_program
from tests.e2e.fake_runs import ENDLESS, Live, events, local, run_id, wait_until
from tests.e2e.running import alive, environment, tflaunch

pytestmark = [pytest.mark.e2e, pytest.mark.legacy]
PROGRAM = Path(board_program.__file__)
LASTING = {**ENDLESS, "evaluator": "ready,drain"}


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def is_gone(url: str) -> bool:
    try:
        get(url)
    except (urllib.error.URLError, ConnectionError):
        return True
    except HTTPException:
        return False  # cut off in the middle of an answer: it is going, and the next look tells whether it is gone
    return False


@pytest.fixture
def live(tmp_path: Path) -> object:
    made: list[Live] = []

    def start(*options: str) -> tuple[Live, str]:
        run = Live(tmp_path, LASTING, "--tensorboard", *options)
        made.append(run)
        return run, str(run.wait_for("board_changed", state="up")["url"])

    yield start
    for run in made:
        if run.client.poll() is None:
            run.client.kill()
        run.client.wait()
        run.wait_until_gone()


def write_loss(folder: Path, value: float) -> None:
    """As an Estimator writes it."""
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="loss", simple_value=value)])
    writer.add_event(event_pb2.Event(wall_time=1.0, step=1, summary=summary))
    writer.close()


def test_it_answers_and_shows_the_model_and_each_task(live: Callable[..., tuple[Live, str]], tmp_path: Path) -> None:
    write_loss(tmp_path / "model", 0.5)
    write_loss(tmp_path / "model" / "eval", 0.25)
    run, url = live("--model-dir", str(tmp_path / "model"))
    assert url.startswith("http://127.0.0.1:")
    assert b"TensorBoard" in get(url)
    run.until_training()
    wanted = {"model", "model/eval", "chief-0", "worker-0", "worker-1"}
    wait_until(lambda: wanted <= set(json.loads(get(f"{url}data/runs"))))
    for name, value in (("model", 0.5), ("model/eval", 0.25)):
        query = urlencode({"run": name, "tag": "loss"})
        assert [row[2] for row in json.loads(get(f"{url}data/plugin/scalars/scalars?{query}"))] == [value]
    tags = json.loads(get(f"{url}data/plugin/scalars/tags"))
    wait_until(lambda: "task/memory (MiB)" in json.loads(get(f"{url}data/plugin/scalars/tags")).get("worker-0", ()))
    query = urlencode({"run": "worker-0", "tag": "task/memory (MiB)"})
    rows = json.loads(get(f"{url}data/plugin/scalars/scalars?{query}"))
    assert rows and rows[0][2] > 0, tags
    assert f"tensorboard  {url}" in tflaunch("status", "run", cwd=tmp_path).stdout
    run.client.send_signal(signal.SIGINT)
    assert run.end()[0] == 130
    assert is_gone(url) and "tensorboard" not in tflaunch("status", "run", cwd=tmp_path).stdout


def test_a_detached_run_prints_its_address(tmp_path: Path) -> None:
    done = local(tmp_path, "--tensorboard", "--detach", roles=LASTING)
    url = done.stdout.partition("TensorBoard answers at ")[2].split()
    assert url and b"TensorBoard" in get(url[0]), done.stdout + done.stderr
    assert tflaunch("stop", "run", "--now", cwd=tmp_path).code == 0
    assert is_gone(url[0])


def test_a_run_that_ends_takes_it_along_and_told_its_address(tmp_path: Path) -> None:
    done = local(tmp_path, "--tensorboard")
    assert done.code == 0, done.stdout + done.stderr
    assert alive(run_id(done.run_dir)) == []
    changes = [event for event in events(done.run_dir) if event["kind"] == "board_changed"]
    assert "ended" not in [event["state"] for event in changes]  # it is no stray process of a task
    urls = [str(event["url"]) for event in changes]
    assert all(is_gone(url) and url in done.stdout for url in urls)


@pytest.mark.parametrize("victims", [("supervisor",), ("agent",), ("keeper",), ("supervisor", "agent")])
def test_it_is_gone_whoever_is_killed(live: Callable[..., tuple[Live, str]], victims: tuple[str, ...]) -> None:
    run, url = live("--restarts", "0")
    agent = int(str(run.wait_for("host_changed", state="up")["facts"]["pid"]))  # type: ignore[index]
    pids = {"supervisor": run.supervisor(), "agent": agent, "keeper": parent_of(agent)}
    for victim in victims:
        os.kill(pids[victim], signal.SIGKILL)
    wait_until(lambda: is_gone(url))
    if run.client.poll() is None:
        run.client.kill()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_one_that_dies_is_told_and_the_run_goes_on(live: Callable[..., tuple[Live, str]]) -> None:
    run, url = live()
    run.until_training()
    (pid,) = [
        pid for pid in alive(run_id(run.folder)) if b"board_program.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(pid, signal.SIGKILL)
    run.wait_for("board_changed", state="ended")
    assert is_gone(url)
    assert tflaunch("stop", "run", cwd=run.folder.parent).code == 0
    assert run.report()["outcome"] == "interrupted"


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    blocked = tmp_path / "tensorboard"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('blocked')")
    options = json.dumps({"logdir": str(tmp_path / "logs"), "events": "", "model_dir": ""})
    argv = [sys.executable, str(PROGRAM), options]
    done = subprocess.run(argv, env=environment(PYTHONPATH=str(tmp_path)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install tensorboard" in done.stderr
