"""What is seen of a deployment on a terminal."""

from __future__ import annotations

import io

import pytest

from launcher.deploy.progress import Bars


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "dumb")
    return io.StringIO()


def test_a_bar_says_how_much_is_sent_and_then_all_that_was_done(terminal: io.StringIO) -> None:
    told = "code: 21 of 21 files sent (20 MiB), wheels: 59 of 59 files sent (637 MiB), environment made"
    with Bars(terminal, ("a", "b")) as bars:
        bars.sending("a", sent_bytes=5 << 20, total_bytes=20 << 20)
        bars.done("b", told)
    shown = terminal.getvalue()
    assert "sending files, 5 of 20 MiB" in shown and told in shown


def test_a_note_is_cut_where_the_terminal_ends(terminal: io.StringIO) -> None:
    with Bars(terminal, ("a",)) as bars:
        bars.say("a", "Collecting [x]" + "y" * 500)
    (line,) = [line for line in terminal.getvalue().splitlines() if line.strip()]
    assert 100 < len(line) <= 150


def test_the_clock_goes_on_when_everything_is_sent(terminal: io.StringIO) -> None:
    with Bars(terminal, ("a",)) as bars:
        bars.sending("a", sent_bytes=5, total_bytes=5)
        bars.say("a", "making the environment")
        assert not bars._progress.finished
        bars.done("a", "environment made")
        assert bars._progress.finished
