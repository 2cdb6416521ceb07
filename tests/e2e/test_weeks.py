"""What happens to a machine in a week, and to a run on it: full disks, folders that are moved or cleaned away."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.fake_runs import GOOD, OPTIONS, Live, run_id, wait_until, words
from tests.e2e.running import TIMEOUT_S, alive, environment, tflaunch_argv
from tests.launcher.record.disks import Disk, full_disk

pytestmark = pytest.mark.e2e

StartLive = Callable[..., Live]


def roles_until(go: Path, *, chief: str = "") -> dict[str, str]:
    """A good run whose trainers wait in the middle until that file is there."""
    wait = f"wait-file={go}"
    return {
        **GOOD,
        "chief": f"gate,ready,step=5,{chief}{wait},step=10:320,finished=10,barrier,saved=10",
        "worker": f"gate,ready,step=5,{wait},step=9:288,finished=9",
    }


def ended(client: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = client.communicate(timeout=TIMEOUT_S)
    return client.returncode, out


def test_a_run_whose_folder_is_renamed_goes_on_there(live: StartLive, tmp_path: Path) -> None:
    run = live(roles_until(tmp_path / "go"))
    run.until_training()
    moved = run.folder.rename(tmp_path / "elsewhere")
    (tmp_path / "go").touch()
    code, out = ended(run.client)
    assert code == 0, out
    assert "succeeded after" in out
    report = json.loads((moved / "report.json").read_text())
    assert (report["outcome"], report["global_step"]) == ("succeeded", 10)
    assert not run.folder.exists()


def test_a_run_whose_folder_is_removed_is_trained_and_has_its_exit_code(live: StartLive, tmp_path: Path) -> None:
    run = live(roles_until(tmp_path / "go"))
    run.until_training()
    mark = run_id(run.folder)
    shutil.rmtree(run.folder)
    (tmp_path / "go").touch()
    code, out = ended(run.client)
    assert code == 0, out
    assert "is gone or full; the run has ended with exit code 0" in out
    wait_until(lambda: not alive(mark))


def test_output_on_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    with full_disk(tmp_path, 64 * 1024) as disk:
        disk.fill()
        with (disk.path / "out").open("w") as out:
            command = tflaunch_argv("local", *OPTIONS, *words(**{**GOOD, "worker": f"spam=300000:1,{GOOD['worker']}"}))
            done = subprocess.run(
                command, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
                text=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "the output cannot be written (No space left on device)" in done.stderr
        assert json.loads((tmp_path / "run" / "report.json").read_text())["outcome"] == "succeeded"


@pytest.mark.parametrize("frees", [True, False])
def test_a_full_run_folder_ends_no_run(live: StartLive, tmp_path: Path, frees: bool) -> None:
    """Whether there is room again in the end, or not."""
    with full_disk(tmp_path, 4 << 20) as disk:
        (tmp_path / "run").symlink_to(disk.path)
        roles = roles_until(tmp_path / "go", chief=f"spam=400000:1,touch={tmp_path}/spammed,")
        run = live(roles, "--run-dir", str(disk.path / "run"))
        run.folder = disk.path / "run"
        run.until_training("worker:0", "worker:1")
        _end_on_a_full_disk(run, disk, tmp_path, frees=frees)


def _end_on_a_full_disk(run: Live, disk: Disk, cwd: Path, *, frees: bool) -> None:
    disk.fill()
    wait_until((cwd / "spammed").exists)
    if frees:
        disk.free()
    (cwd / "go").touch()
    code, out = ended(run.client)
    assert code == 0, out
    report = json.loads((run.folder / "report.json").read_text())
    assert (report["outcome"], report["global_step"]) == ("succeeded", 10)
    assert sum(task["restarts"] for task in report["tasks"]) == 0
    assert run.client.returncode != -signal.SIGKILL
