"""What the kernel shows of a process, and that the process itself goes on as before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from launcher.agent.host import sweep
from launcher.agent.system import processes
from tests.launcher.agent.harness import REPOSITORY, Host

ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOSTILE": "a\nb=c ü $(x)", "EMPTY": "", "LONG": "x" * 300}
SHOWS = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from launcher.agent.system import title
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
before = {name: libc.getenv(name) for name in os.environb}
print(title.set_environment("TFLAUNCH_RUN", "run-1"))
print({name: libc.getenv(name) for name in before} == before, os.environ["TFLAUNCH_RUN"])
print(open("/proc/self/environ", "rb").read().rstrip(b"\\0"))
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import os; print(dict(os.environ))"])
os.wait()
"""


def run(code: str, env: Mapping[str, str]) -> list[str]:
    argv = [sys.executable, "-I", "-S", "-u", "-c", code, str(REPOSITORY)]
    return subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_environment_that_is_shown_is_the_mark_alone() -> None:
    done, same, shown, child = run(SHOWS, ENV)
    assert (done, same, shown) == ("True", "True run-1", str(b"TFLAUNCH_RUN=run-1"))
    seen = eval(child)
    assert {name: seen[name] for name in ENV} == ENV
    assert seen["TFLAUNCH_RUN"] == "run-1"


def test_without_room_for_it_nothing_is_changed() -> None:
    code = SHOWS.partition("print({name")[0] + "print(dict(os.environ), open('/proc/self/environ').read())"
    done, rest = run(code, {"A": "b"})
    assert done == "False" and "TFLAUNCH_RUN" not in rest


@pytest.mark.parametrize("room", [True, False], ids=["room", "no-room"])
def test_keeper_and_agent_are_found_by_the_name_of_their_run(make_host: Callable[..., Host], room: bool) -> None:
    """Whether or not the program that started them had an environment with room for it."""
    host = make_host()
    host.connect(env={"ROOM": "x" * 500} if room else {})
    members, home = sweep.members(host.options.run), str(host.home)
    shown = {pid: processes.command(pid).split()[:3] for pid in members}
    assert sorted(shown.values()) == [["tflaunch", part, home] for part in ("agent", "guard", "keeper")]
    assert sorted(Path(f"/proc/{pid}/comm").read_text() for pid in members) == [
        f"tflaunch-{part}\n" for part in ("agent", "guard", "keeper")
    ]
    assert sweep.sweep(host.options.run)
    assert sweep.members(host.options.run) == []
