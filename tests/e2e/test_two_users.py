"""Somebody else on the same machine means harm: nothing of the user's is emptied, told, forged or held up.

Each test has a /tmp of its own, in a mount namespace, in which both users are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.fake_runs import GOOD, OPTIONS, words
from tests.e2e.running import TIMEOUT_S, environment, tflaunch_argv
from tests.hosts.namespaces import REPOSITORY
from tests.launcher.others import SOMEBODY

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root, who makes the other user"),
]
UID = os.getuid()
COVERED = [path for path in (REPOSITORY, Path(sys.prefix)) if path.is_relative_to("/tmp")]
# Takes every name that could be guessed, swaps whatever appears in his folders, and answers in others' places.
SWAPS = """
while :; do for d in /tmp/tflaunch-{uid}/*; do
  [ -d "$d" ] && [ ! -L "$d" ] && mv "$d" "$d-taken" 2>/dev/null && ln -s {precious} "$d"
done; done
"""


def in_own_tmp(cwd: Path, before: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the program where /tmp is empty at first, but for ``cwd``; ``before``: what a shell does there first."""
    shown = [cwd, *COVERED]
    keep = [f"mkdir /mnt/{n}; mount --rbind {path} /mnt/{n}" for n, path in enumerate(shown)]
    show = [f"mkdir -p {path}; mount --rbind /mnt/{n} {path}" for n, path in enumerate(shown)]
    lines = ["mount -t tmpfs none /mnt", *keep, "mount -t tmpfs -o mode=1777 none /tmp", *show]
    script = (
        "\n".join(lines) + f'\n{before}\ncd "$0"; "$@"; code=$?; ls -A /tmp > left; kill $! 2>/dev/null; exit $code'
    )
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(cwd), *argv],
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def somebody(script: str) -> str:
    return f"setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups sh -c '{script}'"


@pytest.mark.parametrize("how", ["his folder", "a link", "a file"])
def test_a_folder_of_his_that_was_there_first_costs_nothing(tmp_path: Path, how: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "file").touch()
    name = f"/tmp/tflaunch-{UID}"
    before = {
        "his folder": f"{somebody(f'mkdir -m 777 {name}')}; "
        + somebody(SWAPS.format(uid=UID, precious=precious))
        + " &",
        "a link": somebody(f"ln -s {precious} {name}"),
        "a file": somebody(f"touch {name}"),
    }[how]
    done = in_own_tmp(tmp_path, before, *tflaunch_argv("local", *OPTIONS), *words(**GOOD), XDG_RUNTIME_DIR="/run")
    assert done.returncode == 0, done.stdout
    assert [path.name for path in precious.iterdir()] == ["file"]
    left = (tmp_path / "left").read_text().split()
    shown = {path.parts[2] for path in (tmp_path, *COVERED)}
    assert set(left) == {*shown, f"tflaunch-{UID}"}, "nothing of the run's"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (f"chown {SOMEBODY} /tmp", f"/tmp belongs to user {SOMEBODY}"),
        ("chmod 777 /tmp", "/tmp of user root has mode 0777"),
    ],
)
def test_a_tmp_that_is_his_ends_the_run_before_it_starts(tmp_path: Path, spoil: str, said: str) -> None:
    done = in_own_tmp(tmp_path, spoil, *tflaunch_argv("local", *OPTIONS), *words(**GOOD))
    assert (done.returncode, said in done.stdout) == (3, True), done.stdout
    assert not (tmp_path / "run").exists()
