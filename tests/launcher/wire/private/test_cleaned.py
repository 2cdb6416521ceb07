"""What cleans /tmp by age leaves a folder alone in which somebody lives."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from launcher.wire.private import registry
from launcher.wire.private.folder import AGENT_SOCKET
from tests.e2e.fake_runs import wait_until
from tests.launcher.others import root_only

CLEANER = "systemd-tmpfiles"
LONG_AGO = 1_000_000_000


@root_only
@pytest.mark.skipif(shutil.which(CLEANER) is None, reason=f"{CLEANER} is not installed")
def test_systemd_tmpfiles_heeds_the_lock(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    home = registry.make("run", "run", str(place))
    assert home is not None
    home.listen(AGENT_SOCKET).close()
    other = place / "of-nobody"
    (other / "file").parent.mkdir()
    (other / "file").touch()
    (tmp_path / "clean.conf").write_text(f"e {place} - - - 1s\n")

    def cleaned() -> bool:
        subprocess.run([CLEANER, "--clean", tmp_path / "clean.conf"], check=False, capture_output=True)
        return not (other / "file").exists()

    wait_until(cleaned)
    assert Path(home.path, AGENT_SOCKET).exists() and home.run() == "run"
    home.remove()
    home.close()


def test_a_refreshed_folder_looks_new_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = registry.make("run", "run", str(tmp_path))
    assert home is not None
    inside = Path(home.path, "output")
    inside.mkdir()
    (inside / "worker-0.1").write_text("said")
    (inside / "link").symlink_to("/etc/passwd")
    target = Path("/etc/passwd").stat().st_mtime_ns
    everything = [Path(home.path), inside, inside / "worker-0.1", inside / "link"]
    for path in everything:
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    began = time.time() - 60
    home.refresh()
    assert all(path.lstat().st_mtime > began for path in everything)
    assert (inside / "worker-0.1").read_text() == "said" and Path("/etc/passwd").stat().st_mtime_ns == target
    home.remove()
    home.close()
