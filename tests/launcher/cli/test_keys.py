"""Keys in the live view: what they want, what they ask, and that they do it to a run in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.keys.prompt import HELP, Prompt, Wanted, Wish
from launcher.views.spans import plain
from tests.e2e.fake_runs import ENDLESS, OPTIONS, events, wait_until, words
from tests.e2e.running import environment, tflaunch, tflaunch_argv


def typed(prompt: Prompt, keys: str) -> list[Wanted]:
    return [wanted for key in keys if (wanted := prompt.take(key)) is not None]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("l", [Wanted(Wish.LAST_LINES)]),
        ("+-", [Wanted(Wish.MORE_WORKERS), Wanted(Wish.FEWER_WORKERS)]),
        ("q", [Wanted(Wish.DETACH)]),
        ("rworker:1\r", [Wanted(Wish.RESTART, "worker:1")]),
        ("rworker:12\x7f\n", [Wanted(Wish.RESTART, "worker:1")]),
        ("rq\x1bq", [Wanted(Wish.DETACH)]),
        ("r\r", []),
        ("dnode-l\r", [Wanted(Wish.DRAIN, "node-l")]),
        ("?xyz\x1b\x00", []),
    ],
)
def test_what_keys_want(keys: str, wanted: list[Wanted]) -> None:
    assert typed(Prompt(), keys) == wanted


def test_what_is_asked_and_answered_stands_on_the_last_line() -> None:
    prompt = Prompt()
    typed(prompt, "dnod")
    assert plain(prompt.footer) == "drain which host? nod_   Enter, or Escape"
    typed(prompt, "e\r")
    assert prompt.footer == ()
    prompt.say("no host node")
    typed(prompt, "?")
    assert prompt.footer == HELP and "q detach" in plain(HELP)
    typed(prompt, "?")
    assert prompt.footer == ()


class Screen:
    """A tflaunch in a terminal of its own, 100 by 30."""

    def __init__(self, cwd: Path) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(theirs)
        argv = [word for word in OPTIONS if word != "--plain"]
        self.process = subprocess.Popen(
            [*tflaunch_argv("local", *argv), *words(**ENDLESS)],
            cwd=cwd,
            env=environment(TERM="xterm-256color"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),  # type: ignore[arg-type, return-value]
        )
        self.theirs = theirs
        os.set_blocking(self.ours, False)
        self.seen = ""

    def press(self, keys: str, until: str) -> None:
        """Presses keys, and waits until the screen has shown those words since."""
        self.seen = ""
        os.write(self.ours, keys.encode())
        wait_until(lambda: self.read() and until in self.seen)

    def read(self) -> bool:
        try:
            while data := os.read(self.ours, 65536):
                self.seen += data.decode(errors="replace")
        except OSError:
            pass
        return True


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    made = Screen(tmp_path)
    yield made
    tflaunch("stop", str(tmp_path / "run"), "--now", cwd=tmp_path)
    if made.process.poll() is None:
        made.process.send_signal(signal.SIGKILL)
        made.process.wait()
    os.close(made.ours)
    os.close(made.theirs)


@pytest.mark.e2e
def test_keys_in_a_terminal(screen: Screen, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    wait_until(lambda: screen.read() and sum(event.get("state") == "training" for event in events(folder)) >= 3)
    screen.press("?", " close")
    screen.press("??", " close")
    screen.press("rworker:9\r", "this run has no task worker:9")
    screen.press("rworker:1\r", "worker:1 is restarted")
    wait_until(lambda: any(event.get("attempt") == 2 and event["task"] == "worker:1" for event in events(folder)))
    screen.press("dnowhere\r", "nowhere")
    screen.press("q", "goes on; see it with: tflaunch attach run")
    assert screen.process.wait(30) == 0
    assert termios.tcgetattr(screen.theirs) == screen.before, "the terminal is given back as it was"
    status = json.loads(tflaunch("status", "run", "--json", cwd=tmp_path).stdout)
    assert status["outcome"] is None, "it goes on"
