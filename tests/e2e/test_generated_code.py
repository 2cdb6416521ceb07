"""What AutoGraph writes into temporary files is gone with the run, also if its process was killed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.fake_runs import run_id
from tests.e2e.running import alive, tflaunch

PROGRAM = """
import inspect, os, signal, tempfile
import tensorflow as tf

def doubled(x):
    if x > 0:
        x = x + x
    return x

converted = tf.autograph.to_graph(doubled)
print("generated", inspect.getsourcefile(converted), flush=True)
print("source", "if_stmt" in inspect.getsource(converted), flush=True)
print("users", tempfile.gettempdir(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.tensorflow
@pytest.mark.e2e
@pytest.mark.legacy
@pytest.mark.parametrize("how", ["forked", "by exec", "below a shell"])
def test_what_autograph_generates_is_gone_with_the_run(tmp_path: Path, how: str) -> None:
    program, temporary = tmp_path / "program.py", tmp_path / "tmp"
    program.write_text(PROGRAM)
    temporary.mkdir()
    python = sys.executable
    command = ["bash", "-c", f"{python} program.py; exit $?"] if how == "below a shell" else ["python", str(program)]
    flags = ["--workers", "0", "--ps", "0", "--no-evaluator", "--restarts", "0", "--run-dir", "run", "--plain"]
    flags += [] if how == "forked" else ["--no-preload"]
    env = {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": ""}  # Python's own files beside them are looked at, too
    done = tflaunch("local", *flags, "--", *command, cwd=tmp_path, **env)
    said = dict(
        line.split(" ", 1) for line in done.log("chief:0").splitlines() if line.startswith(("gen", "sou", "us"))
    )
    assert said["source"] == "True" and said["users"] == str(temporary), done.stdout
    assert not Path(said["generated"]).exists() and not alive(run_id(done.run_dir))
    assert list(temporary.iterdir()) == []
