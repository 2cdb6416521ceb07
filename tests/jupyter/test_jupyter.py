"""Runs from the cells of a notebook, in whose kernel a loop of asyncio runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from launcher.record.runs import RunFolder, is_live
from launcher.wire.private import peers
from tests.e2e.fake_runs import run_id
from tests.e2e.running import alive

ROOT = Path(__file__).parents[2]
FAKE = str(ROOT / "tests" / "e2e" / "fake_cluster.py")
GOOD = [
    FAKE,
    "ps=listen,ready,hang",
    "chief=gate,ready,step=9,finished=9,saved=9",
    "worker=gate,ready,step=8,finished=8",
]
ENDLESS = [FAKE, "ps=listen,ready,hang", "chief=gate,ready,step=1,hang", "worker=gate,ready,hang"]
CANNED = [str(ROOT / "tests" / "e2e" / "canned.py"), "--steps", "20"]


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TF_", "TFLAUNCH_"))]:
        monkeypatch.delenv(name)
    yield tmp_path


def until(what: Callable[[], object], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(*cells: str) -> str:
    """What the cells of a notebook print."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)


def test_cells_run_and_await_clusters() -> None:
    run = f"result = run({GOOD!r}, workers=1, evaluator=False); print(result.outcome, result.report['global_step'])"
    both = f"both = await asyncio.gather(*(arun({GOOD!r}, evaluator=False, run_dir=n) for n in 'ab'))"
    cells = ["import asyncio; from launcher import arun, run", run, both, "print(*(each.outcome for each in both))"]
    assert said(*cells) == "succeeded 9\nsucceeded succeeded\n"


def test_beside_a_session_of_the_kernels_own() -> None:
    """The cluster's result is right, and so is what the kernel goes on to do."""
    session = "tf.compat.v1.Session(graph=graph)"
    before = (
        f"import tensorflow as tf; graph = tf.Graph(); session = {session}; print(float(tf.reduce_sum([1.0, 2.0])))"
    )
    with_ops = "with graph.as_default(): three = tf.constant(1) + 2"
    run = f"from launcher import run; print(run({CANNED!r}, workers=1).check().report['global_step'] >= 20)"
    assert said(before, with_ops, run, run, "print(session.run(three))") == "3.0\nTrue\nTrue\n3\n"


def test_nothing_is_left_of_a_kernel_that_is_killed(cwd: Path) -> None:
    manager = KernelManager()
    manager.start_kernel(cwd=str(cwd))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        client.execute("import os; open('pid', 'w').write(str(os.getpid()))")
        client.execute(f"from launcher import run; run({ENDLESS!r}, evaluator=False, run_dir='mine')")
        folder = RunFolder(cwd / "mine")
        until(lambda: folder.events.exists() and '"training"' in folder.events.read_text())
        pid = int((cwd / "pid").read_text())
        name = peers.identity(pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_live(folder))
        until(lambda: not alive(f"standby@{name}") and not alive(run_id(folder.path)))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
