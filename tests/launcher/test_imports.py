"""Who may import whom: the seams between the parts, and what must not be imported by the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ("wire/errors", "plan", "spec", "lifecycle", "wire/protocol", "causes", "record/events")
AGENT_MAY = ("launcher.agent", "launcher.wire")


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def files(*names: str) -> list[Path]:
    """The Python files of these modules or packages."""
    paths = [ROOT / name for name in names]
    return [file for path in paths for file in ([path] if path.suffix else sorted(path.rglob("*.py")))]


def breaches(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports_of(path))
        if name.split(".")[0] in forbidden or name in forbidden or name.startswith(tuple(f"{f}." for f in forbidden))
    ]


def test_only_the_in_task_library_and_the_jobs_import_tensorflow() -> None:
    outside = [path for path in files("launcher") if "estimator" not in path.parts]
    assert breaches(outside, "tensorflow", "tensorflow_estimator", "tf_keras") == []


def test_only_one_file_imports_fabric() -> None:
    others = [path for path in files("launcher", "jobs") if path.name != "ssh.py"]
    assert breaches(others, "fabric", "paramiko", "invoke") == []


def test_the_core_touches_nothing_that_acts() -> None:
    core = [ROOT / "launcher" / f"{name}.py" for name in CORE if (ROOT / "launcher" / f"{name}.py").exists()]
    core += files("launcher/lifecycle")
    assert len(core) > 8
    acting = (
        "time",
        "subprocess",
        "socket",
        "asyncio",
        "os",
        "launcher.agent",
        "launcher.supervise.supervisor",
        "launcher.estimator",
    )
    assert breaches(core, *acting) == []


def test_the_agent_stands_on_the_standard_library() -> None:
    allowed = set(sys.stdlib_module_names) | {"launcher", "psutil", "__future__"}
    late = ("preload.py", "program.py", "warm.py", "tensorflow_hooks.py", "fork_server.py", "forked.py")
    for path in files("launcher/agent"):
        names = imports_of(path)
        foreign = {name for name in names if name.split(".")[0] not in allowed}
        if path.name not in late:
            ours = {name for name in names if name.startswith("launcher.") and not name.startswith(AGENT_MAY)}
            assert (path.name, ours) == (path.name, set())
            theirs = {"tensorboard"} if path.name == "board_program.py" else set()  # runs in a process of its own
            assert (path.name, {name.split(".")[0] for name in foreign}) == (path.name, theirs)


def test_jobs_know_nothing_of_the_core() -> None:
    for path in files("jobs"):
        ours = {name for name in imports_of(path) if name.startswith("launcher.")}
        assert all(name.startswith("launcher.estimator") for name in ours), path


@pytest.mark.parametrize(
    "arguments", [["-c", "import launcher"], ["-m", "launcher", "--help"], ["-m", "launcher", "ls"]]
)
def test_the_command_line_does_not_import_tensorflow(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {name for name in modules if name.split(".")[0] in ("tensorflow", "numpy", "fabric", "keras")}
