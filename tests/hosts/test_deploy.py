"""Deploying to a real sshd: code that changes, and an environment of wheels, without a package index."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import TIMEOUT_S, Finished, environment, tflaunch, tflaunch_argv
from tests.hosts.fixtures import require_hosts, three_hosts
from tests.hosts.namespaces import HOME, Network, Options, network
from tests.hosts.running import wait_until, wait_until_gone

__all__ = ["three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

HOSTILE = (b"a b 'c' \"d\" $(touch pwned) \\ ;*?[x]", "ü漢.txt".encode(), b"new\nline", b"latin-\xe4", b"-rf", b"~")
TREES = "src"


def make_wheel(folder: Path, name: str = "tiny", version: str = "1.0") -> None:
    """A wheel with one module, which says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_hash(text)},{len(text.encode())}\n" for path, text in files.items())
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(path, text)


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def spec(hosts: Network, **keys: object) -> dict[str, Any]:
    return {
        "command": ["python", "train.py"],
        "hosts": [{"name": host.name, "address": host.address, "ssh": {}} for host in hosts.hosts],
        "roles": {"chief": {}},
        "preload": [],
        "sync": {"path": "code", "exclude": ["*.ckpt"], "to": f"~/{TREES}"},
        **keys,
    }


def deploy(
    hosts: Network, cwd: Path, written: Mapping[str, object], command: str = "deploy", *options: str
) -> Finished:
    (cwd / "spec.yaml").write_text(yaml.safe_dump(dict(written)))
    plain = [] if command == "doctor" else ["--plain"]
    return tflaunch(command, "spec.yaml", *plain, *options, cwd=cwd, HOME=str(hosts.user_home))


def trees(hosts: Network, host: str) -> dict[str, set[bytes]]:
    """The files of each tree on a host."""
    found = {}
    for tree in sorted((hosts.host(host).home / TREES).glob("[0-9a-f]*")):
        found[tree.name] = {os.fsencode(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    return found


def states(listed: Finished) -> dict[str, str]:
    """By the names of trees; the environment's is empty."""
    rows = [line.split() for line in listed.stdout.splitlines()[1:] if line.strip()]
    return {row[2] if row[1] == "code" else "": "in use" if row[-1] == "use" else row[-1] for row in rows}


def test_code_and_environment_arrive_and_are_used(three_hosts: Network, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("import os, sys, tiny; print('uses', tiny.VERSION, os.getcwd(), sys.prefix)\n")
    (code / "gone.py").write_text("")
    for name in HOSTILE:
        (Path(os.fsdecode(os.fsencode(code) + b"/" + name))).write_bytes(name)
    (code / "model.ckpt").write_text("left out by the spec")
    (code / "secret.txt").write_text("left out by .gitignore")
    (code / ".gitignore").write_text("secret.txt\n")
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_text("tiny==1.0\n")
    make_wheel(tmp_path / "wheels")
    keys = {"python": {"venv": "~/venvs/x", "requirements": "requirements.txt", "wheelhouse": "wheels"}}
    written = spec(three_hosts, **keys)
    written["hosts"] = written["hosts"][:1]  # an environment takes seconds

    done = deploy(three_hosts, tmp_path, written)
    assert done.code == 0, done.stderr
    assert re.search(r"host a: code: 9 of 9 files sent .*wheels: 1 of 1 files sent.*environment made", done.stderr)
    ((_, files),) = trees(three_hosts, "a").items()
    assert files == {b"train.py", b"gone.py", b".gitignore", *HOSTILE}
    ((tree),) = (three_hosts.host("a").home / TREES).glob("[0-9a-f]*")
    for name in HOSTILE:
        assert Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).read_bytes() == name

    again = deploy(three_hosts, tmp_path, written)
    assert again.code == 0 and again.stderr.count("code was there, environment was there") == 1, again.stderr

    looked = deploy(three_hosts, tmp_path, written, "doctor", "--json")
    found = {check["check"]: check for check in json.loads(looked.stdout)["checks"]}
    assert found["command"]["level"] == "ok", looked.stdout
    assert re.search(r"/venvs/x/\w+/bin/python: .*No module named 'tensorflow'", found["import"]["message"])
    assert found["import"]["advice"].startswith("name it in python.requirements, and bring the environment again")

    (code / "gone.py").unlink()
    (code / "train.py").write_text((code / "train.py").read_text() + "\n")
    ran = deploy(three_hosts, tmp_path, written, "run", "--run-dir", "run")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.stderr.count("code: 1 of 8 files sent") == 1, ran.stderr
    now = trees(three_hosts, "a")
    new = next(name for name, files in now.items() if b"gone.py" not in files)
    assert len(now) == 2 and b"train.py" in now[new]
    said = (tmp_path / "run" / "logs" / "chief-0.log").read_text()
    assert re.search(rf"uses 1\.0 {HOME}/{TREES}/{new} {HOME}/venvs/x/\w+", said), said

    host, (old,) = three_hosts.host("a"), set(now) - {new}
    sleeping = host.run("sh", "-c", f"cd {HOME}/{TREES}/{old}; sleep 600 >&- 2>&- & echo $!").strip()
    listed = deploy(three_hosts, tmp_path, written, "deploy", "--list")
    assert listed.code == 0 and states(listed) == {old[:16]: "in use", new[:16]: "present", "": "present"}
    pruned = deploy(three_hosts, tmp_path, written, "deploy", "--prune")
    assert states(pruned)[old[:16]] == "in use" and set(trees(three_hosts, "a")) == set(now)
    host.run("kill", sleeping)
    (tmp_path / "more.txt").write_text("tiny==1.0  # once more\n")
    listed = deploy(three_hosts, tmp_path, written, "deploy", "--list")
    assert states(listed) == {old[:16]: "old", new[:16]: "present", "": "old"}
    pruned = deploy(three_hosts, tmp_path, written, "deploy", "--prune")
    assert states(pruned) == {old[:16]: "removed", new[:16]: "present", "": "removed"}
    assert set(trees(three_hosts, "a")) == {new} and not list((host.home / "venvs" / "x").glob("*/bin"))
    objects = [path for path in (host.home / TREES / ".objects").rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in objects} == {2}, "what was in the old tree alone has gone, too"
    shutil.rmtree(code)
    (tmp_path / "more.txt").unlink()
    listed = deploy(three_hosts, tmp_path, written, "deploy", "--list")
    assert listed.code == 0 and states(listed)[new[:16]] == "old", listed.stderr
    assert "no code counts as the present one" in listed.stderr and "no environment counts" in listed.stderr
    wait_until_gone(three_hosts)


def test_a_file_changed_on_the_host_is_put_right(three_hosts: Network, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print('as deployed')\n")
    (code / "other.py").write_text("pass\n")
    written = spec(three_hosts, sync={"path": "code", "to": "~/changed"})
    assert deploy(three_hosts, tmp_path, written).code == 0
    ((tree),) = (three_hosts.host("b").home / "changed").glob("[0-9a-f]*")
    with (tree / "train.py").open("a") as file:
        file.write("print('changed in place')\n")
    done = deploy(three_hosts, tmp_path, written)
    assert done.code == 0, done.stderr
    assert "host b: code: 1 of 2 files sent" in done.stderr and done.stderr.count("code was there") == 2
    assert (tree / "train.py").read_text() == "print('as deployed')\n"


def test_each_host_that_fails_is_named_in_a_line(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require_hosts()
    options = {
        "full": Options(home_mount="-t tmpfs -o size=512k none"),
        "nopython": Options(path=f"{HOME}/bin"),
    }
    with network(tmp_path_factory.mktemp("net"), ["good", *options], options) as hosts:
        nopython = hosts.host("nopython").home / "bin"
        nopython.mkdir()
        (nopython / "sh").symlink_to("/bin/sh")
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "big").write_bytes(os.urandom(1 << 20))
        (tmp_path / "requirements.txt").write_text("--no-index\ntiny==2.0\n")
        python = {"venv": "~/venv", "requirements": "requirements.txt"}
        done = deploy(hosts, tmp_path, spec(hosts, python=python))
        assert done.code == 3, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("tflaunch: host ")]
        said = {line.split()[2].rstrip(":"): line for line in lines}
        assert set(said) == {"good", "full", "nopython"} and len(lines) == 3, done.stderr
        assert "pip failed: No matching distribution found for tiny==2.0" in said["good"]
        assert "No space left on device" in said["full"]
        assert "it has no Python 3.10 or newer" in said["nopython"]


def test_a_host_that_falls_silent_holds_nobody_up(three_hosts: Network, tmp_path: Path) -> None:
    """It has a line, and what had arrived there is not sent again; the others get everything."""
    code = tmp_path / "code"
    code.mkdir()
    for name in ("first", "second"):
        (code / name).write_bytes(name.encode() + bytes(24 << 20))
    written = spec(three_hosts, sync={"path": "code", "to": "~/silent"})
    host = three_hosts.host("b")
    written["hosts"][1]["ssh"] = {"connect_timeout_s": 3}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(written))
    argv = tflaunch_argv("deploy", "spec.yaml", "--plain")
    env = environment(HOME=str(three_hosts.user_home))
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as client:
        wait_until(lambda: [*(host.home / "silent").glob(".objects/*/*")], "for the first file")
        silent = [pid for pid, words in host.processes().items() if words.startswith("sshd: root")]
        for pid in silent:
            os.kill(pid, signal.SIGSTOP)
        try:
            _, said = client.communicate(timeout=TIMEOUT_S)
        finally:
            for pid in silent:
                os.kill(pid, signal.SIGCONT)
    assert client.returncode == 3, said
    errors = [line for line in said.splitlines() if line.startswith("tflaunch: ")]
    assert len(errors) == 1 and "host b: nothing was heard from it for 6 s while code was being sent" in errors[0], said
    assert said.count("code: 2 of 2 files sent") == 2
    wait_until_gone(three_hosts)
    again = deploy(three_hosts, tmp_path, written)
    assert again.code == 0 and "host b: code: 1 of 2 files sent" in again.stderr, again.stderr


def test_nothing_to_deploy_is_said(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(json.dumps({"command": ["true"], "roles": {"chief": {}}}))
    done = tflaunch("deploy", "spec.yaml", cwd=tmp_path)
    assert done.code == 2 and "says nothing about deploying" in done.stderr, (sys.version, done.stderr)
