"""Virtual environments: one for each content of the requirements and each Python, made once.

An environment cannot be moved once it is made, so it is made where it will stay, under a lock, and counts from the
moment when its last file, the mark, is there.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import importlib.util
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

MARK = ".tflaunch-complete"
_LAST_LINES = 40

Say = Callable[[str], None]


class MakingError(Exception):
    """The environment could not be made; the text is one line."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


def identity(files: Mapping[str, str]) -> str:
    """The name of the environment with these requirements files, by this Python."""
    about = [sys.implementation.cache_tag, sys.base_prefix, sorted(files.items())]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def place(folder: str, files: Mapping[str, str]) -> str:
    """Where that environment is, or would be."""
    return os.path.join(os.path.abspath(os.path.expanduser(folder)), identity(files))


def is_complete(home: str) -> bool:
    """Whether an environment was made to its end."""
    return os.path.exists(os.path.join(home, MARK)) and os.path.exists(os.path.join(home, "bin", "python"))


def make(home: str, files: Mapping[str, str], wheels: str | None, say: Say) -> None:
    """Makes the environment, unless another one does so meanwhile. ``files`` has a requirements.txt, and what it
    refers to; ``wheels``: a folder to install from instead of an index. Raises MakingError, or OSError."""
    os.makedirs(os.path.dirname(home), mode=0o700, exist_ok=True)
    with _locked(home + ".lock", say):
        if is_complete(home):
            return
        shutil.rmtree(home, ignore_errors=True)
        say("making the environment")
        pip = _bundled_pip()
        flags = ["--without-pip"] if pip is not None else []
        _run([sys.executable, "-I", "-m", "venv", *flags, home], say, "cannot make a virtual environment")
        _install(home, files, wheels, ["-m", "pip"] if pip is None else [pip], say)
        with open(os.path.join(home, MARK), "w", encoding="utf-8") as mark:
            mark.write(sys.version)


def remove(home: str) -> bool:
    """Removes an environment, unless somebody is making it."""
    with open(home + ".lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(home)
    return True


def _bundled_pip() -> str | None:
    """The pip that came with this Python, as a program: nothing of it has to be installed. None if it has none."""
    found = importlib.util.find_spec("ensurepip")
    places = [os.path.dirname(str(found.origin)) + "/_bundled"] if found is not None else []
    wheels = [wheel for place in (*places, "/usr/share/python-wheels") for wheel in glob.glob(place + "/pip-*.whl")]
    return wheels[0] + "/pip" if wheels else None


def _install(home: str, files: Mapping[str, str], wheels: str | None, pip: Sequence[str], say: Say) -> None:
    source = ["--no-index", "--find-links", wheels] if wheels else []
    with tempfile.TemporaryDirectory(prefix="tflaunch-requirements-", dir=home) as folder:
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        flags = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--no-color"]
        command = [os.path.join(home, "bin", "python"), *pip, "install", *flags, *source]
        _run([*command, "-r", os.path.join(folder, "requirements.txt")], say, "pip failed")


@contextmanager
def _locked(path: str, say: Say) -> Iterator[None]:
    with open(path, "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another deploy that makes the same environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], say: Say, trouble: str) -> None:
    """Runs a command, handing on what it prints. It ends with us, and when nobody listens any more."""
    started = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    said: list[str] = []
    try:
        for line in _lines(started):
            said = [*said, line][-_LAST_LINES:]
            say(line)
        code = started.wait()
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    if code:
        raise MakingError(f"{trouble}: {last_line(said) or f'exit code {code}'}", _advice(said))


def _lines(started: subprocess.Popen[bytes]) -> Iterator[str]:
    assert started.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(started.stdout, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if 0 in ready and not os.read(0, 1):
                raise MakingError("the connection ended")
            if started.stdout.fileno() in ready:
                part = os.read(started.stdout.fileno(), 65536)
                *whole, rest = (rest + part).split(b"\n")
                yield from (text for line in whole if (text := line.decode("utf-8", "replace").strip()))
                if not part:
                    return


def last_line(said: Sequence[str]) -> str:
    """The line that says what went wrong: pip's last error, else the last line of all."""
    errors = [line for line in said if line.startswith("ERROR:")]
    return (errors or list(said) or [""])[-1].removeprefix("ERROR:").strip()


def _advice(said: Sequence[str]) -> str:
    text = "\n".join(said)
    if "ensurepip" in text:
        return "install the distribution's python3-venv there"
    if "No space left" in text or "Disk quota exceeded" in text:
        return "make room there, or name another folder in python.venv"
    if "NewConnectionError" in text or "Network is unreachable" in text or "Temporary failure in name" in text:
        return "a host without a package index needs python.wheelhouse"
    if "No matching distribution" in text:
        return "is it in the index or the wheelhouse, for that Python and machine?"
    return ""
