"""Programs that are forked from a preloaded interpreter, or run by program.py, end and speak as under plain python."""

from __future__ import annotations

import ast
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.launcher.agent.preload_cases import PROGRAMS, TENSORFLOW_CASES, cases, cwd_of, normal, program_of
from tests.launcher.agent.preload_driver import DEADLINE_S, PROGRAM, Ended, Preload, execute, read, wait

# Plain python buffers what it writes into a file; a task flushes every line. The same for all, to compare the order.
FLUSH_LINES = "import sys\nsys.stdin.reconfigure(line_buffering=True)\nsys.stdout.reconfigure(line_buffering=True)\n"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs that cannot be kept as files of this repository."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "wrong.py").write_text("print('never')\nif True\n    pass\n")
    (folder / "bad_encoding.py").write_bytes(b"print('never')\nprint('\xe9')\n")
    (folder / "latin.py").write_bytes(b"# coding: latin-1\nprint('\xe9')\n1/0  # \xe9\n")
    (folder / "bom.py").write_bytes(b"\xef\xbb\xbfprint('bom')\n")
    (folder / "zero.py").write_bytes(b"print('never')\n\0\n")
    (folder / "bad.pyc").write_bytes(b"nothing of the kind")
    with zipfile.ZipFile(folder / "archive.pyz", "w") as archive:
        archive.write(PROGRAMS / "folder/__main__.py", "__main__.py")
        archive.write(PROGRAMS / "folder/beside.py", "beside.py")
    source = folder / "source.py"
    source.write_text("print(__file__, __loader__, __cached__, __spec__)\n1/0\n")
    compiler = "import py_compile, sys; py_compile.compile(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", compiler, str(source), str(folder / "module.pyc")], check=True)
    (folder / "link.py").symlink_to(PROGRAMS / "arguments.py")
    return folder


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of every program here."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(FLUSH_LINES)
    (site / "remembers.py").write_text("import tempfile\ntempfile.gettempdir()\n")
    return {
        "AGENT_PID": str(os.getpid()),
        "HOME": str(site),
        "LANG": "C.UTF-8",
        "MARKER": "a 'value' $x",
        "MOST_THREADS": "64",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TFLAUNCH_TASK_SOCKET": str(site / "task.sock"),
    }


@pytest.fixture(scope="session")
def plain(env: dict[str, str], made: Path):
    """Runs a case under plain python, once."""

    @cache
    def run(name: str) -> Ended:
        case = next(case for case in (*cases(), *TENSORFLOW_CASES) if case.name == name)
        return execute([sys.executable, *program_of(case, made)], {**env, **case.env}, cwd_of(case))

    return run


@pytest.fixture(scope="session")
def numpy_preload(env: dict[str, str]) -> Iterator[Preload]:
    yield from running_preload(["numpy", "absl.app", "remembers"], env)


@pytest.fixture(scope="session")
def tensorflow_preload(env: dict[str, str]) -> Iterator[Preload]:
    yield from running_preload(["tensorflow"], env)


def running_preload(modules: list[str], env: dict[str, str]) -> Iterator[Preload]:
    # Not in the environment of its tasks, and in another folder: neither may show.
    preload = Preload(modules, {**env, "UNSET_BY_TASK": "seen", "TZ": "America/Lima", "TMPDIR": "/dev/shm"})
    ready = preload.answer()
    assert ready.get("kind") == "ready", preload.log()
    assert ready["pid"] == preload.process.pid
    yield preload
    assert preload.close() == 0, preload.log()


@pytest.mark.parametrize("case", [*cases()], ids=str)
@pytest.mark.parametrize("modules", ["numpy", pytest.param("tensorflow", marks=pytest.mark.tensorflow)])
def test_forked_program_is_as_under_python(case, modules, plain, env, made, request):
    preload = request.getfixturevalue(f"{modules}_preload")
    forked = preload.run(program_of(case, made), {**env, **case.env}, cwd_of(case))
    assert normal(forked) == normal(plain(case.name))


@pytest.mark.parametrize("case", [*cases()], ids=str)
def test_program_by_exec_is_as_under_python(case, plain, env, made):
    argv = [sys.executable, PROGRAM, *program_of(case, made)]
    assert normal(execute(argv, {**env, **case.env}, cwd_of(case))) == normal(plain(case.name))


@pytest.mark.tensorflow
@pytest.mark.parametrize("case", TENSORFLOW_CASES, ids=str)
@pytest.mark.parametrize("modules", ["numpy", "tensorflow"])
def test_tensorflow_program_is_as_under_python(case, modules, plain, env, made, request):
    preload = request.getfixturevalue(f"{modules}_preload")
    forked = preload.run(program_of(case, made), {**env, **case.env}, cwd_of(case))
    assert normal(forked) == normal(plain(case.name))


@pytest.mark.tensorflow
def test_variable_that_tensorflow_reads_at_import_starts_the_program_over(tensorflow_preload, env):
    """Its output up to there is not shown twice; a variable that is read later changes nothing."""
    code = (
        "import os, pathlib; print('once'); os.environ[{!r}] = '1'; import tensorflow;"
        "print(b'program.py' in pathlib.Path('/proc/self/cmdline').read_bytes())"
    )
    for name, started_over in (("TF_ENABLE_ONEDNN_OPTS", True), ("TF_NUM_INTRAOP_THREADS", False)):
        ended = tensorflow_preload.run(["-c", code.format(name)], env, str(PROGRAMS))
        assert normal(ended) == Ended(status=0, output=f"once\n{started_over}\n")


@pytest.mark.tensorflow
@pytest.mark.parametrize("modules", ["numpy", "tensorflow"])
def test_estimator_and_the_library_can_be_imported(modules, env, request):
    """Even where our package is not installed: in an environment without it, only our finder knows it."""
    code = (
        "import sys; print([name for name in ('launcher', 'tensorflow') if name in sys.modules]);"
        "sys.meta_path[:] = [item for item in sys.meta_path if 'Editable' not in repr(item)];"
        "import launcher.wire.protocol, jobs, tensorflow as tf; from launcher import estimator;"
        "print(tf.estimator.DNNClassifier.__name__, estimator.__name__, jobs.__name__)"
    )
    preload = request.getfixturevalue(f"{modules}_preload")
    ended = preload.run(["-c", code], env, "/")
    assert normal(ended) == Ended(status=0, output="[]\nDNNClassifierV2 launcher.estimator jobs\n")


@pytest.mark.tensorflow
def test_adjustments_are_made_where_they_are_asked_for(tensorflow_preload, numpy_preload, env):
    code = (
        "import tensorflow as tf; tf.estimator.Estimator;"
        "from tensorflow_estimator.python.estimator import training; print(training._DELAY_SECS_PER_WORKER)"
    )
    for names, expected in (("worker-start", 0), ("", 5)):
        for preload in (tensorflow_preload, numpy_preload):
            ended = preload.run(["-c", code], {**env, "TFLAUNCH_TUNE": names}, "/")
            assert normal(ended) == Ended(status=0, output=f"{expected}\n")


OWN_NAMES = """\
import sys, launcher
def ours(*names):
    hidden = [list(finder._hidden) for finder in sys.meta_path if hasattr(finder, "_hidden")]
    return [name in sum(hidden, []) for name in names]
own = __file__.replace("program.py", "launcher/__init__.py")
print(launcher.__file__ == own, ours("launcher", "launcher.estimator"))
import tensorflow
print("tensorflow")
import difflib
print(difflib.__file__ == __file__.replace("program.py", "difflib.py"), sys.modules["launcher"] is launcher)
print(ours("launcher.estimator"), [name for name in sys.modules if name.startswith("launcher.")])
print([finder._name for finder in sys.meta_path if hasattr(finder, "_action")])
"""


@pytest.mark.parametrize("start", ["fork", "exec"])
def test_the_library_comes_with_tensorflow_and_leaves_the_program_what_it_has(start, numpy_preload, env, tmp_path):
    """It needs modules of the standard library for the names of which the program may have its own."""
    (tmp_path / "launcher").mkdir()
    files = {
        "launcher/__init__.py": "",
        "difflib.py": "print('mine')",
        "tensorflow.py": "estimator = None",
        "program.py": OWN_NAMES,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    program, env = [str(tmp_path / "program.py")], {**env, "TFLAUNCH_TUNE": "worker-start"}
    ended = execute([sys.executable, PROGRAM, *program], env, "/") if start == "exec" else None
    ended = ended or numpy_preload.run(program, env, "/")
    waiting = "tensorflow_estimator.python.estimator.training"
    lines = ["True [True, False]", "tensorflow", "mine", "True True", "[True] []", f"['{waiting}']"]
    assert ended == Ended(status=0, output="\n".join(lines) + "\n")


@pytest.mark.parametrize("modules", ["numpy", pytest.param("tensorflow", marks=pytest.mark.tensorflow)])
def test_two_tasks_draw_different_numbers(modules, env, request):
    preload = request.getfixturevalue(f"{modules}_preload")
    first, second = (preload.run(["seeds.py", modules], env, str(PROGRAMS)) for _ in range(2))
    assert first.status == second.status == 0
    pairs = list(zip(first.output.splitlines(), second.output.splitlines(), strict=True))
    assert len(pairs) == (6 if modules == "tensorflow" else 5)
    assert [one for one, other in pairs if one == other] == []


def test_the_digits_of_a_pid_may_be_in_an_address():
    output = io.BytesIO(b"<Thread(1234, started 140123412345678)> at 0x7f1234005678 pid=1234")
    shown = normal(Ended(status=0, output=read(output, 1234)))
    assert shown.output == "<Thread(PID, started ADDRESS)> at ADDRESS pid=PID"


def test_large_request_comes_by_file(numpy_preload, env):
    large = {**env, **{f"LARGE_{n}": "x" * 100_000 for n in range(20)}}
    ended = numpy_preload.run(["-c", "import os; print(len(os.environ))"], large, "/", by_file=True)
    assert ended == Ended(status=0, output=f"{len(large)}\n")


def test_folder_that_is_missing_is_said(numpy_preload, env):
    with tempfile.TemporaryFile() as output:
        answer = numpy_preload.start(["-c", "pass"], env, "/no/such/folder", output.fileno())
    message = "No such file or directory: /no/such/folder"
    assert answer == {"kind": "failed", "task": "worker:1", "attempt": 2, "message": message}
    assert numpy_preload.run(["-c", "print('next')"], env, "/") == Ended(status=0, output="next\n")


def test_title_names_run_and_task(numpy_preload, env):
    code = "from pathlib import Path; print([Path('/proc/self', name).read_text() for name in ('cmdline', 'comm')])"
    ended = numpy_preload.run(["-c", code], env, "/")
    cmdline, comm = ast.literal_eval(ended.output)
    assert (cmdline.rstrip("\0"), comm) == ("tflaunch: run-1 worker:1", "worker:1\n")
    named = {**env, "TFLAUNCH_RUN": "run-2", "TFLAUNCH_TASK": "ps:0"}
    cmdline, comm = ast.literal_eval(execute([sys.executable, PROGRAM, "-c", code], named, "/").output)
    assert (cmdline.rstrip("\0"), comm) == ("tflaunch: run-2 ps:0", "ps:0\n")


def test_task_outlives_the_preloaded_interpreter(env):
    preload = Preload([], env)
    assert preload.answer()["kind"] == "ready"
    with tempfile.TemporaryFile() as output:
        pid = preload.start(["-c", "import signal; signal.pause()"], env, "/", output.fileno())["pid"]
        preload.process.kill()
        preload.process.wait(DEADLINE_S)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        assert preload.answer() == {}
        os.kill(pid, signal.SIGTERM)
        assert wait(pid) == -signal.SIGTERM


def test_task_dies_with_the_agent_and_so_does_the_preloaded_interpreter(env):
    agent = (
        "import os, signal, tempfile; from tests.launcher.agent.preload_driver import Preload\n"
        "preload = Preload([], dict(os.environ)); preload.answer()\n"
        "output = tempfile.TemporaryFile()\n"
        "code = 'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()'\n"
        "answer = preload.start(['-c', code], dict(os.environ), '/', output.fileno())\n"
        "print(answer['pid'], preload.process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    root = str(Path(__file__).parents[3])
    with subprocess.Popen([sys.executable, "-c", agent], env=env, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        handles = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    for handle in handles:
        assert select.select([handle], [], [], DEADLINE_S)[0]
        os.close(handle)


def test_module_that_cannot_be_imported_is_shown(env):
    preload = Preload(["json", "no_such_module"], env)
    assert preload.answer() == {}
    assert preload.close() == 1
    assert preload.log().startswith("Traceback (most recent call last):\n")
    assert preload.log().endswith("ModuleNotFoundError: No module named 'no_such_module'\n")


def test_module_that_starts_a_thread_is_refused(env, tmp_path):
    source = "import threading\nthreading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()\n"
    (tmp_path / "threaded.py").write_text(source)
    preload = Preload(["threaded"], {**env, "PYTHONPATH": str(tmp_path)})
    assert preload.answer() == {}
    assert preload.close() == 1
    assert "started threads, which a fork would lose: mine" in preload.log()


def test_relative_search_path_is_the_tasks(env, tmp_path):
    relative = {**env, "PYTHONPATH": "lib:" + env["PYTHONPATH"]}
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "beside.py").write_text("print('found')\n")
    preload = Preload([], relative)
    assert preload.answer()["kind"] == "ready"
    code = "import beside, sys; print(sys.path)"
    plain = execute([sys.executable, "-c", code], relative, str(tmp_path))
    assert preload.run(["-c", code], relative, str(tmp_path)) == plain
    assert preload.close() == 0


@pytest.mark.parametrize(("arguments", "status"), [(["3"], 3), (["0"], 0), ([], 1)])
@pytest.mark.parametrize("start", ["fork", "exec"])
def test_an_interpreter_is_not_taken_down_while_a_session_is_being_closed(
    start: str, arguments: list[str], status: int, numpy_preload: Preload, env: dict[str, str]
) -> None:
    program = [str(PROGRAMS / "closing.py"), *arguments]
    if start == "fork":
        ended = numpy_preload.run(program, env, str(PROGRAMS))
    else:
        ended = execute([sys.executable, PROGRAM, *program], env, str(PROGRAMS))
    assert (ended.status, "at exit" in ended.output, "taken down" in ended.output) == (status, True, False), ended
    assert "no newline" in ended.output and ("text" in ended.output) == (arguments == [])
