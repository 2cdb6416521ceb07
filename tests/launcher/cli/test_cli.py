"""The command line as a user meets it: every slip is one clear line and exit code 2, and nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.record.event_log import EventLog
from launcher.record.runs import RunFolder
from tests.launcher.views.console_demo import START, Story

SCRIPT = "import sys\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TFLAUNCH_", "TF_CONFIG"))]:
        monkeypatch.delenv(name)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "broken.py").write_text("import sys\nimport\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("raise SystemExit('it is imported')\n")
    (tmp_path / "package" / "inner" / "__main__.py").write_text("raise SystemExit('it is run')\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["local", "--wrokers", "2"], "--workers"),
        (["local", "--workers", "-1"], "--workers"),
        (["local", "--no-chief", "--workers", "0", "--", "train.py"], "worker"),
        (["local", "--"], "nothing follows --"),
        (["local", "--", "nosuch.py"], "there is no script nosuch.py"),
        (["local", "--", "python", "folder.py"], "is a folder without __main__.py; name a script"),
        (["local", "--", "pyhton", "train.py"], "no program 'pyhton' on the PATH; did you mean 'python'?"),
        (["local", "--", "./no/such", "train.py"], "there is no program ./no/such"),
        (["local", "--", "broken.py"], "broken.py:2: Python does not understand the program: "),
        (["local", "--", "latin.py"], "latin.py:1: Python does not understand the program: (unicode error)"),
        (["local", "--", "-m", "broken"], "broken.py:2: Python does not understand the program: "),
        (["local", "--", "-m", "nosuch"], "there is no module nosuch that could be run"),
        (["local", "--", "-m", "package"], "there is no module package that could be run"),
        (["local", "--", "-m", "package.nosuch"], "there is no module package.nosuch that could be run"),
        (["plan", "--", "-m", "jobs.nosuch"], "there is no module jobs.nosuch that could be run"),
        (["local", "--model-dir", "/m/{model}", "--", "true"], "holds {model}"),
        (["local", "train.py"], "write it behind --"),
        (["local", "python", "train.py"], "comes behind --"),
        (["local", "--tune", "redy-poll", "--", "train.py"], "did you mean 'ready-poll'"),
        (["local", "--env", "NO_SUCH_VARIABLE", "--", "train.py"], "NO_SUCH_VARIABLE"),
        (["local", "--env-file", "none", "--", "train.py"], "none"),
        (["local", "--workers", "two"], "'--workers': 'two' is not a valid whole number (0 or more)"),
        (["local", "--chief", "2"], "a cluster has one chief, or none by --no-chief; more trainers are workers"),
        (["local", "--ps", "x", "--", "train.py"], "'x' is not a valid whole number (0 or more)"),
        (["local", "--restarts", "x", "--", "train.py"], "--restarts"),
        (["local", "--inject", "kill wroker:1 at step 3", "--", "train.py"], "wroker"),
        (["local", "--model-dir", "", "--", "train.py"], "model_dir"),
        (["local", "--run-dir", ".", "--", "train.py"], "not empty"),
        (["local", "--run-dir", "train.py", "--", "train.py"], "File exists; name another folder by --run-dir"),
        (["local", "--", "s\udcffcript.py"], r"after --: s\xffcript.py is not UTF-8; give it another name"),
        (["local", "--model-dir", "m\udcff", "--", "train.py"], r"--model-dir: m\xff is not UTF-8"),
        (["local", "--run-dir", "r\udcff", "--", "train.py"], r"--run-dir: r\xff is not UTF-8"),
        (["local", "--env", "A=\udcff", "--", "train.py"], "--env A: its value is not UTF-8"),
        (["local", "none.yaml"], "none.yaml"),
        (["local", "."], "is a directory"),
        (["run"], "SPEC"),
        (["doctor", "none.yaml"], "none.yaml"),
        (["doctor", "--timeout-s", "0"], "--timeout-s"),
        (["status", "nosuch"], "no run"),
        (["logs", "nosuch"], "no run"),
        (["stop"], "no runs"),
        (["restart", "a", "b"], "no run"),
        (["nosuch"], "nosuch"),
    ],
)
def test_a_slip_is_said_in_words(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err and "Traceback" not in said.err
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "package.inner"],
        ["-m", "http.server"],
        ["-m", "jobs.esmm"],
        ["-m", "changing.inner"],
        ["python", "-I", "-m", "nosuch"],
        ["/usr/bin/env", "python", "broken.py"],
        ["latin_1.py"],
    ],
)
def test_what_python_may_well_run_is_planned(folder: Path, command: list[str]) -> None:
    (folder / "latin_1.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    (folder / "changing").mkdir()
    (folder / "changing" / "__init__.py").write_text("__path__ = ['package']\n")
    assert run(["plan", "--", *command]) == 0


def test_nothing_is_made_in_a_folder_whose_name_is_no_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = folder / os.fsdecode(b"f\xff")
    odd.mkdir()
    (odd / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(odd)
    assert run(["local", "--", "train.py"]) == 2
    assert capsys.readouterr().err.endswith(r"f\xff is not UTF-8; give it another name" + "\n")
    assert [path.name for path in odd.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["logs", "wroker:0"], "has no task 'wroker:0'; did you mean 'worker:0'?"),
        (["logs", "run", "worker-7"], "has no task 'worker-7'; did you mean 'worker:"),
        (["logs", "run", "master"], "has no task 'master'; it has ps:0, chief:0, worker:0, worker:1, evaluator:0"),
        (["restart", "run", "cheif:0"], "has no task 'cheif:0'; did you mean 'chief:0'?"),
    ],
)
def test_a_misspelt_task_is_said_with_what_there_is(
    words: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EventLog(RunFolder.create(folder / "runs", "run", START).events)
    for recorded in Story(5, seconds=30).tell():
        log.append(recorded.event, recorded.at)
    log.close()
    (only,) = (folder / "runs").iterdir()
    assert run([word if word != "run" else only.name for word in words]) == 2
    assert told in capsys.readouterr().err


def test_ctrl_c_while_modules_are_imported_shows_no_traceback() -> None:
    code = (
        "import sys\nfrom launcher.__main__ import main\nclass CtrlC:\n def find_spec(self, name, *_):\n"
        "  if name == 'click': raise KeyboardInterrupt\nsys.meta_path.insert(0, CtrlC())\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_fifo_is_no_spec(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("spec.yaml")
    assert run(["plan", "spec.yaml"]) == 2
    assert "is no file" in capsys.readouterr().err


def test_a_tf_config_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert run(["plan", "--", "train.py"]) == 2
    assert "unset TF_CONFIG" in capsys.readouterr().err


def test_flags_override_the_environment_and_that_the_spec(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("spec.yaml").write_text("name: spec\nroles: {ps: {}, chief: {}}\npolicy: {timeout_s: 1}\n")
    monkeypatch.setenv("TFLAUNCH_NAME", "environment")
    monkeypatch.setenv("TFLAUNCH_TIMEOUT_S", "2")
    assert run(["plan", "spec.yaml", "--timeout-s", "3", "--", "train.py"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("environment: ")
    assert "TFLAUNCH_NAME" in text and "--timeout-s" in text
    assert not Path("runs").exists()


def test_hosts_that_are_not_there_are_named_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = "hosts: [{name: a.invalid, ssh: {}}, {name: b.invalid, ssh: {}}]"
    Path("spec.yaml").write_text(f"{hosts}\nroles: {{ps: {{}}, chief: {{}}}}\ncommand: [python, t.py]\n")
    assert run(["run", "spec.yaml", "--model-dir", "/shared/m"]) == 3
    said = capsys.readouterr().out
    assert all(f"host {name}.invalid: the name '{name}.invalid' leads nowhere" in said for name in "ab")


def test_one_host_without_ssh_is_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = "hosts: [{name: a, address: localhost}, {name: b, address: 127.0.0.2}]"
    Path("spec.yaml").write_text(f"{hosts}\nroles: {{ps: {{}}, chief: {{}}}}\ncommand: [ls]\n")
    assert run(["run", "spec.yaml", "--model-dir", "/shared/m"]) == 2
    assert "a, b" in capsys.readouterr().err


def test_hosts_come_from_a_file_or_from_slurm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("spec.yaml").write_text("roles: {ps: {}, chief: {}, worker: {}}\nmodel_dir: /shared/m\n")
    Path("hosts.txt").write_text("one slots=2\ntwo\n")
    assert run(["plan", "spec.yaml", "--json", "--hosts-from", "hosts.txt", "--", "train.py"]) == 0
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    assert [(host["name"], host["transport"]) for host in hosts] == [("one", "ssh"), ("two", "ssh")]
    assert run(["plan", "spec.yaml", "--hosts-from", "slurm", "--", "train.py"]) == 2
    assert "start tflaunch inside salloc or sbatch" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[01-02]")
    assert run(["plan", "spec.yaml", "--json", "--hosts-from", "slurm", "--", "train.py"]) == 0
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    assert [(host["name"], host["transport"]) for host in hosts] == [("node-0", "slurm"), ("node-1", "slurm")]
    assert run(["plan", "spec.yaml", "--hosts-from", "none.txt", "--", "train.py"]) == 2
    assert "none.txt" in capsys.readouterr().err
