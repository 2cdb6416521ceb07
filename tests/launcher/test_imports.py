"""Who may import whom: the seams between the parts, and what must not be imported by the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALL = "all"
LAYERS: dict[str, str] = {  # a room, and the rooms that it may import from; ARCHITECTURE.md has a sentence for each
    "launcher.wire": "",
    "launcher.spec": "wire",
    "launcher.plan": "wire spec",
    "launcher.record": "wire spec",
    "launcher.causes": "wire",
    "launcher.lifecycle": "wire spec plan record causes",
    "launcher.agent": "wire estimator",  # inside a task: the in-task library
    "launcher.estimator": "wire",
    "launcher.hosts": "wire spec plan agent",
    "launcher.timeline": "wire record",
    "launcher.supervise": "wire plan record causes lifecycle hosts timeline",
    "launcher.views": "wire plan record timeline estimator",
    "launcher.deploy": "wire spec plan hosts views",
    "launcher.doctor": "wire plan agent hosts views",
    "launcher.api": "wire spec plan record supervise views",
    "launcher.testing": "api",
    "launcher.cli": ALL,
    "launcher.__main__": "cli",
    "jobs": "estimator",
}
AGENT_MAY = ("launcher.agent", "launcher.wire")
ACTING = ("time", "subprocess", "socket", "asyncio", "os", "launcher.agent", "launcher.supervise", "launcher.estimator")


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


def test_only_one_room_imports_fabric() -> None:
    others = [path for path in files("launcher", "jobs") if path.parent.name != "ssh"]
    assert breaches(others, "fabric", "paramiko", "invoke") == []


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    paths = files("launcher", "jobs")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def graph() -> dict[str, set[str]]:
    """Which module of ours imports which, inside functions and for type checkers, too."""
    ours = modules()
    names = {module: imports_of(path) for module, path in ours.items()}
    return {module: {name for name in found if name in ours and name != module} for module, found in names.items()}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("launcher.") else module.split(".")[0]


def test_every_room_is_in_the_table_and_the_table_names_nothing_else() -> None:
    assert {room_of(module) for module in modules()} - {"launcher"} == set(LAYERS)


def test_imports_run_one_way() -> None:
    wrong = set()
    for module, found in graph().items():
        room = room_of(module)
        may = LAYERS.get(room, "")
        allowed = {room, "launcher", *(f"launcher.{name}" for name in may.split())}
        allowed |= {"launcher.api", "launcher.wire"} if module == "launcher" else set()  # loads it when it is asked for
        wrong |= {f"{module} imports {name}" for name in found if may != ALL and room_of(name) not in allowed}
    assert wrong == set()


# Where ``__all__`` is for users: what other rooms of ours come in through besides.
FACES = {
    "launcher": {"estimator"},
    "launcher.agent": {"bootstrap", "host", "inside"},
    "launcher.estimator": {
        "adjustments",
        "compat",
        "inspection",
        "metrics",
        "quietly",
        "streaming",
        "task",
        "training",
    },
    "launcher.estimator.compat": {"conversions", "legacy_keras"},
    "launcher.estimator.streaming": {"errors", "formats", "opening", "reading", "stream", "tools"},
}


def face_of(package: str, path: Path) -> set[str]:
    """The modules of a folder through which others may come in: its ``__all__``."""
    found = FACES.get(package, set())
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "__all__":
            continue
        if isinstance(node.value, (ast.List, ast.Tuple)):
            found = found | {ast.literal_eval(name) for name in node.value.elts}
    return found


def test_what_only_a_folder_needs_is_imported_by_nobody_else() -> None:
    paths = modules()
    faces = {name: face_of(name, path) for name, path in paths.items() if path.name == "__init__.py"}
    wrong = set()
    for module, found in graph().items():
        for name in found:
            inner = name
            while "." in inner and not f"{module}.".startswith(f"{inner.rpartition('.')[0]}."):
                package, _, own = inner.rpartition(".")
                if own not in faces[package]:
                    wrong.add(f"{module} imports {name}, and {own} is not in the __all__ of {package}")
                inner = package
    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges = graph()
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    left = {module: found - packages for module, found in edges.items() if module not in packages}
    while leaves := {module for module, found in left.items() if not found & left.keys()}:
        left = {module: found for module, found in left.items() if module not in leaves}
    ties = {module: sorted(found & left.keys()) for module, found in left.items()}
    assert ties == {}, "what is left is a circle, or stands above one"


def test_the_core_touches_nothing_that_acts() -> None:
    core = [path for path in files("launcher/wire") if path.parent.name != "private"]  # the one room there that acts
    core += files("launcher/plan", "launcher/lifecycle", "launcher/causes")
    core += files("launcher/record/events.py", "launcher/record/states.py", "launcher/spec")
    assert breaches([path for path in core if path.name not in ("post_import.py", "load.py")], *ACTING) == []


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


@pytest.mark.parametrize(
    "arguments", [["-c", "import launcher"], ["-m", "launcher", "--help"], ["-m", "launcher", "ls"]]
)
def test_the_command_line_does_not_import_tensorflow(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {name for name in modules if name.split(".")[0] in ("tensorflow", "numpy", "fabric", "keras")}
