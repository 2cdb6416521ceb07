"""The tasks' Python on this host: is it there, which versions has it, does the import work, is the program there?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.agent.tasks import environment

_LAST_WORDS_BYTES = 8192
_HOME = str(Path(__file__).parents[3])
# Run by the tasks' Python: says what is quickly known, then imports, and says how that went.
_PROGRAM = r"""
import ctypes, json, os, platform, sys, time
ctypes.CDLL(None).prctl(1, 9)
wanted = json.loads(sys.argv[1])
sys.path[:1] = [wanted["path"]] if wanted["path"] is not None else []
def say(**facts):
    os.write(wanted["fd"], json.dumps(facts).encode() + b"\n")
def version(name):
    from importlib import metadata
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
names = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tf-nightly")
tensorflow = next((found for found in map(version, names) if found), None)
say(version=platform.python_version(), tensorflow=tensorflow, estimator=version("tensorflow-estimator"))
if wanted["module"]:
    import importlib.util
    try:
        say(module_found=importlib.util.find_spec(wanted["module"].partition(".")[0]) is not None)
    except (ImportError, ValueError):
        say(module_found=False)
began = time.monotonic()
import importlib
for name in wanted["modules"]:
    importlib.import_module(name)
    if name == "tensorflow":
        say(tensorflow=getattr(sys.modules[name], "__version__", tensorflow))
say(import_s=round(time.monotonic() - began, 2))
if "tensorflow" in wanted["modules"] and wanted["gpus"]:
    try:
        say(gpus=len(sys.modules["tensorflow"].config.list_physical_devices("GPU")))
    except Exception:
        say(gpus=0)
if "tensorflow" in wanted["modules"]:
    sys.path.insert(0, wanted["home"])
    try:
        from launcher.estimator import compat
        compat.install()
        sys.modules["tensorflow"].estimator.Estimator
        say(estimator_problem="")
    except Exception as error:
        say(estimator_problem="%s: %s" % (type(error).__name__, error))
"""


class Pythons:
    """Interpreters that are being looked at."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def look(
        self,
        python: Sequence[str],
        program: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        modules: Sequence[str],
        gpus: bool,
        within_s: float,
    ) -> dict[str, object]:
        """Runs the interpreter as a task's: with its environment and in its folder. Blocks for ``within_s`` at most."""
        folder = Path(environment.at_home(cwd, os.environ))
        facts: dict[str, object] = {
            "python": python[0],
            "folder": str(folder),
            "folder_problem": _folder_problem(folder),
            "program": " ".join(program[:2] if program[:1] == ["-m"] else program[:1]),
            "program_found": _script_found(program, folder),
        }
        changed = {**os.environ, **env}
        if gpus:
            changed.pop("CUDA_VISIBLE_DEVICES", None)
        wanted = {
            "module": program[1] if len(program) > 1 and program[0] == "-m" else "",
            "path": str(folder) if program[:1] == ["-m"] else None,
            "modules": modules,
            "gpus": gpus,
            "home": _HOME,
        }
        here = str(folder) if not facts["folder_problem"] else "/"
        argv = [environment.at_home(python[0], os.environ), *python[1:]]
        facts.update(self._run(argv, wanted, changed, here, within_s))
        if "module_found" in facts:
            facts["program_found"] = facts.pop("module_found")
        return facts

    def _run(
        self, argv: Sequence[str], wanted: Mapping[str, object], env: Mapping[str, str], cwd: str, limit_s: float
    ) -> dict[str, object]:
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(
                [*argv, "-c", _PROGRAM, json.dumps({**wanted, "fd": writer})],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=(writer,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reader)
            return {"start_problem": error.strerror or str(error)}
        finally:
            os.close(writer)
        with self._lock:
            self._running.add(process)
        try:
            said = process.communicate(timeout=limit_s)[0]
            ended: dict[str, object] = {"exit": process.returncode, "last_words": _last_words(said)}
        except subprocess.TimeoutExpired:
            _kill(process)
            ended = {"exit": None, "last_words": f"it has not ended within {limit_s:g} s"}
        finally:
            with self._lock:
                self._running.discard(process)
            _kill(process)  # what it may have started itself
        return {**_facts(reader), **ended}

    def kill(self) -> None:
        """Ends all of them."""
        with self._lock:
            for process in self._running:
                _kill(process)


def _facts(reader: int) -> dict[str, object]:
    os.set_blocking(reader, False)  # somebody else may still hold its other end
    with open(reader, "rb", buffering=0) as pipe:
        data = pipe.read() or b""
    facts: dict[str, object] = {}
    for line in data.splitlines():
        facts.update(json.loads(line))
    return facts


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(said: bytes) -> str:
    lines = said[-_LAST_WORDS_BYTES:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:500] if lines else ""


def _folder_problem(folder: Path) -> str:
    try:
        if not folder.is_dir():
            return "it is no folder" if folder.exists() else "it is not there"
        return "" if os.access(folder, os.R_OK | os.X_OK) else "it is closed to this user"
    except OSError as error:
        return error.strerror or str(error)


def _script_found(program: Sequence[str], folder: Path) -> bool | None:
    """Whether the script is there; None if the program is none."""
    if not program or program[0].startswith("-"):
        return None
    return (folder / program[0]).exists()
