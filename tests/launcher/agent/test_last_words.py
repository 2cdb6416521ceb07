"""What an agent finds out about a program that failed, or that hangs."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import causes
from launcher.agent.system import blocked, memory
from launcher.wire import protocol
from tests.launcher.agent.harness import Host, until

FLOOD = """
import os
line = b"2026-01-01 00:00:00.000001: W tensorflow/core/noise.cc:1] " + b"n" * 60 + b"\\n"
for _ in range(100): os.write(2, line * 100)
"""


def program(host: Host, source: str, task: str = "worker:0") -> protocol.Exited:
    """Runs Python code in the way in which users' programs run."""
    start(host, source, task)
    return host.wait(protocol.Exited, lambda body: body.task == task)


def start(host: Host, source: str, task: str = "worker:0") -> None:
    code = ("-c", source)
    host.send(protocol.Start(generation=1, task=task, attempt=1, argv=(sys.executable, *code), program=code, cwd="/"))


def test_an_exception_is_known_however_much_is_written_after_it(host: Host) -> None:
    source = f"import atexit\natexit.register(lambda: exec({FLOOD!r}))\nint('planted')"
    exited = program(host, source)
    assert "planted" not in exited.tail
    assert exited.raised.endswith("ValueError: invalid literal for int() with base 10: 'planted'\n")
    assert causes.of_exit("a", exited).message.startswith("worker:0 raised ValueError: invalid literal")


def test_a_traceback_of_a_program_that_we_do_not_run_is_found_in_its_output(host: Host) -> None:
    inner = f"import atexit\natexit.register(lambda: exec({FLOOD!r}))\nint('planted')"
    source = f"import subprocess, sys\nos_exit = subprocess.run([sys.executable, '-c', {inner!r}]).returncode"
    exited = program(host, f"{source}\nimport os; os._exit(os_exit)")
    assert exited.raised == "" and "ValueError: invalid literal" in exited.excerpt
    assert causes.of_exit("a", exited).kind == "exception"


def test_an_exit_with_words_is_known(host: Host) -> None:
    assert "SystemExit: no data" in program(host, "raise SystemExit('no data')").raised


def test_what_is_no_failure_leaves_nothing(host: Host) -> None:
    assert program(host, "import sys; sys.exit(0)").raised == ""
    forked = "import os\nif os.fork() == 0: raise ValueError\nos.wait(); os._exit(3)"
    assert program(host, forked, "worker:1").raised == "", "a child's error is not the task's"


def test_a_crash_has_the_line_of_python(host: Host) -> None:
    exited = program(host, "import ctypes\ndef crash():\n  ctypes.string_at(0)\ncrash()")
    assert exited.signal == signal.SIGSEGV
    cause = causes.of_exit("a", exited)
    assert cause.kind == "signal" and "(<string>:3 in crash)" in cause.message
    log = host.wait_output("worker-0.1", exited.output_bytes)
    assert b'File "<string>", line 3 in crash' in log, "its log has it, too"


def test_native_code_that_gives_up_is_quoted(host: Host) -> None:
    words = "terminate called after throwing an instance of 'std::bad_alloc'\\n  what():  std::bad_alloc\\n"
    source = f"import os, sys\nsys.stderr.write({words!r}.encode().decode('unicode_escape'))\n{FLOOD}\nos.abort()"
    cause = causes.of_exit("a", program(host, source))
    assert (cause.kind, cause.exit) == ("out_of_memory", -signal.SIGABRT)


def test_the_limit_of_memory_is_named(host: Host) -> None:
    bound = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nkept = bytearray(2**31)"
    cause = causes.of_exit("a", program(host, bound))
    assert cause.kind == "out_of_memory" and not cause.permanent


def test_limits_that_tasks_inherit_are_told(make_host: object) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, hard))
    try:
        host = make_host().connect()  # type: ignore[operator]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    exited = program(host, "kept = bytearray(2**35)")
    assert exited.facts["address_space_mib"] == 2**14
    assert "ulimit -v is 16,384 MiB" in causes.of_exit("a", exited).advice


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of 64 MiB (version 1, as far as this machine lets us make one)."""
    folder = Path("/sys/fs/cgroup/memory") / f"tflaunch-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(64 * 2**20))
    except OSError:
        folder = Path("/sys/fs/cgroup") / f"tflaunch-test-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / "memory.max").write_text(str(64 * 2**20))
            (folder / "memory.swap.max").write_text("0")
        except OSError:
            pytest.skip("no cgroup for memory can be made here: run as root, with cgroups writable")
    yield folder
    until(lambda: not (folder / "cgroup.procs").read_text().strip(), "the end of what was in the cgroup")
    folder.rmdir()


def test_a_kill_for_want_of_memory_is_told_from_others(host: Host, cgroup: Path) -> None:
    join = f"open({str(cgroup / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n"
    exited = program(host, join + "kept = b'x' * 2**28")
    assert (exited.signal, exited.out_of_memory) == (signal.SIGKILL, True)
    cause = causes.of_exit("a", exited)
    assert cause.kind == "out_of_memory" and "it used up to" in cause.message


def test_a_kill_by_hand_after_somebody_elses_want_of_memory_is_told_from_it(host: Host, cgroup: Path) -> None:
    host.start("worker:0", "hang")
    pid = host.wait(protocol.Started).pid
    join = f"open({str(cgroup / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n"
    before = memory.oom_kills()
    subprocess.run([sys.executable, "-c", join + "kept = b'x' * 2**28"], check=False)
    assert memory.oom_kills() > before
    measured = len(host.bodies(protocol.Usage))
    while len(host.bodies(protocol.Usage)) < measured + 2:
        host.pump(1.0)
    os.kill(pid, signal.SIGKILL)
    exited = host.wait(protocol.Exited)
    assert (exited.signal, exited.out_of_memory) == (signal.SIGKILL, False)


# --- what it does now


def stacks(host: Host, task: str = "worker:0") -> protocol.Stacks:
    host.send(protocol.TakeStacks(task=task, attempt=1))
    return host.wait(protocol.Stacks, lambda body: body.task == task)


WAITING = """
import signal, threading, time
def other():
    time.sleep(3600)
threading.Thread(target=other, daemon=True).start()
print("up", flush=True)
def main():
    signal.sigwait([signal.SIGUSR1])
main()
"""


def test_the_stacks_of_all_threads(host: Host, tmp_path: Path) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    program_words = (str(script),)
    argv = (sys.executable, *program_words)
    host.send(protocol.Start(generation=1, task="worker:0", attempt=1, argv=argv, program=program_words, cwd="/"))
    host.wait_output("worker-0.1", 3)
    told = stacks(host)
    assert (told.state, told.pid, told.last_lines) == ("S", host.started("worker:0").pid, ("up",))
    assert f'File "{script}", line 4 in other\n    time.sleep(3600)' in told.text
    assert f'File "{script}", line 8 in main\n    signal.sigwait' in told.text


def test_a_program_that_does_not_listen_for_it_is_not_hurt(host: Host) -> None:
    argv = ("/bin/sh", "-c", "echo up; exec sleep 3600")
    host.send(protocol.Start(generation=1, task="worker:0", attempt=1, argv=argv, cwd="/"))
    host.wait_output("worker-0.1", 3)
    told = stacks(host)
    assert told.text == "" and told.state in ("R", "S"), "it may be on its way to sleep"
    assert not host.bodies(protocol.Exited)


WAITING_FOR_FILES = """
import os, socket, threading, time
os.chdir(FOLDER)
def read(fd):
    os.read(fd, 1)
for path in ("opened", "linked"):
    threading.Thread(target=os.open, args=(path, os.O_RDONLY), daemon=True).start()
ends = socket.socketpair(), os.pipe()
for fd in (os.open("read", os.O_RDWR), ends[0][0].fileno(), ends[1][0]):
    threading.Thread(target=read, args=(fd,), daemon=True).start()
print("up", flush=True)
time.sleep(3600)
"""


def test_the_files_that_threads_wait_for(host: Host, tmp_path: Path) -> None:
    for name in ("opened", "read", "target"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "linked").symlink_to("target")
    start(host, f"FOLDER = {str(tmp_path)!r}" + WAITING_FOR_FILES)
    host.wait_output("worker-0.1", 3)
    wanted = {str(tmp_path / name) for name in ("linked", "opened", "read")}
    until(lambda: blocked.files(host.started("worker:0").pid) == wanted, "the threads' waiting")
    assert set(stacks(host).files) == wanted


def test_a_paused_process_is_seen_to_be(host: Host) -> None:
    start(host, "print('up', flush=True); import time; time.sleep(3600)")
    host.wait_output("worker-0.1", 3)
    pid = host.started("worker:0").pid
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "T (stopped)" in Path(f"/proc/{pid}/status").read_text(), "the pause")
    assert stacks(host).state == "T"
    os.kill(pid, signal.SIGCONT)


def test_who_is_gone_has_no_stacks(host: Host) -> None:
    assert stacks(host) == protocol.Stacks(task="worker:0", attempt=1)


def test_the_programs_own_fault_handler_is_left_alone(host: Host) -> None:
    own = "import faulthandler\nfaulthandler.enable()\nimport ctypes\nctypes.string_at(0)"
    exited = program(host, own)
    assert "Fatal Python error: Segmentation fault" in exited.tail


def test_programs_without_an_agent_are_left_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from launcher.agent.inside import last_words\nimport faulthandler, os\n"
         "last_words.watch(os.environ)\nlast_words.note(ValueError())\nprint(faulthandler.is_enabled())"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if not k.startswith("TFLAUNCH")},
    )  # fmt: skip
    assert done.stdout == "False\n"
