"""A user who may have too few processes or open files is told so, wherever the run meets the limit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.fake_runs import GOOD, OPTIONS, wait_until, words
from tests.e2e.running import TIMEOUT_S, environment, tflaunch_argv

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root, for whom there is no limit of processes"
    ),
]
USER = 100_000 + os.getpid()  # of nobody else: the processes of a user are counted together
# Somebody else who may read all the same what belongs to root.
AS_USER = (
    f"setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all,+dac_override --ambient-caps=+dac_override"
)


def is_the_users(process: Path) -> bool:
    try:
        return process.name.isdigit() and process.stat().st_uid == USER
    except OSError:
        return False


@pytest.mark.parametrize(("limit", "values"), [("-u", (1, 2, 3, 4, 6, 7, 10)), ("-n", (7, 11, 17, 36))])
def test_the_limit_is_named_with_what_to_raise(tmp_path: Path, limit: str, values: tuple[int, ...]) -> None:
    """Command line, supervisor, relay, keeper, agent and tasks are the first to meet it, one after the other."""
    where = set()
    for value in values:
        wait_until(lambda: not any(is_the_users(entry) for entry in Path("/proc").iterdir()))
        argv = [*AS_USER.split(), "bash", "-c", f'ulimit {limit} {value} && exec "$@"', "bash", *tflaunch_argv()]
        done = subprocess.run(
            [*argv, "local", *OPTIONS, "--run-dir", f"run-{value}", *words(**GOOD)],
            cwd=tmp_path,
            env=environment(HOME=str(tmp_path)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode in (1, 3), said
        assert f"(ulimit {limit} is {value})" in said, said
        assert re.search(r"raise the limit of (processes|open files)|raise its limits \(ulimit -n\)", said), said
        assert not re.search("Traceback|internal error|itself has failed|correct the command|Errno", said), said
        where.add(next(name for name in ("supervisor", "host local", ":0 cannot be", "tflaunch", "") if name in said))
    assert {"supervisor", "host local", ":0 cannot be"} <= where
