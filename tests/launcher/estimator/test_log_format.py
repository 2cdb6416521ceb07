"""One form of log lines, each message once, and a program's own set-up before ours."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.estimator import task as tasks
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import log_format
from launcher.wire.protocol import LOG_LEVEL_VARIABLE, TASK_VARIABLE

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?P<level>[A-Z]+) worker:1 test_log_format\.py:\d+\] (?P<text>.*)"
)


class Shaped:
    """Applies the adjustment in this process, as a fresh program would see it; all is put back afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self._patches = Patches()
        self._kept: list[tuple[logging.Logger, list[logging.Handler], int, bool]] = []

    def begin(self, level: str = "") -> logging.Logger:
        import tensorflow as tf

        logger: logging.Logger = tf.get_logger()
        root = logging.getLogger()
        self._kept = [(each, list(each.handlers), each.level, each.propagate) for each in (logger, root)]
        root.handlers.clear()
        logger.handlers[:] = [logging.StreamHandler(sys.stderr)]
        logger.setLevel(logging.NOTSET)
        root.setLevel(logging.WARNING)
        self._monkeypatch.setenv(TASK_VARIABLE, "worker:1")
        self._monkeypatch.setenv(LOG_LEVEL_VARIABLE, level)
        log_format.shape(self._patches, tasks.Task(channel=tasks.Channel(path=None)))
        self._capfd.readouterr()
        return logger

    def lines(self) -> list[str]:
        return self._capfd.readouterr().err.splitlines()

    def end(self) -> None:
        self._patches.undo()
        for logger, handlers, level, propagate in self._kept:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate


@pytest.fixture
def shaped(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Shaped]:
    made = Shaped(monkeypatch, capfd)
    yield made
    made.end()


def texts(lines: list[str]) -> list[tuple[str, str]]:
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return [(match["level"], match["text"]) for match in matches if match]


def test_time_task_file_and_line(shaped: Shaped) -> None:
    import tensorflow as tf

    logger = shaped.begin()
    logger.warning("one")
    logging.getLogger("mine").warning("two")
    logger.info("not asked for")
    tf.compat.v1.logging.warning("three")
    assert texts(shaped.lines()) == [("WARNING", "one"), ("WARNING", "two"), ("WARNING", "three")]


def test_a_call_of_logging_info_does_not_double_tensorflow(shaped: Shaped) -> None:
    """It gives the root a handler by the way."""
    logger = shaped.begin("info")
    logger.info("before")
    logging.info("in between")
    logger.info("after")
    assert texts(shaped.lines()) == [("INFO", "before"), ("INFO", "in between"), ("INFO", "after")]


def test_a_set_up_of_the_programs_own_wins(shaped: Shaped, tmp_path: Path) -> None:
    logger = shaped.begin("error")
    logging.basicConfig(format="mine %(message)s", level=logging.INFO)
    logger.setLevel(logging.INFO)
    logger.info("one")
    logging.getLogger("other").info("two")
    assert shaped.lines() == ["mine one", "mine two"]


def test_handlers_on_tensorflows_logger_as_in_every_tutorial(shaped: Shaped, tmp_path: Path) -> None:
    """To a file: the console keeps ours. To the console: ours is silent. Never twice."""
    logger = shaped.begin("info")
    to_file = logging.FileHandler(tmp_path / "log")
    logger.addHandler(to_file)
    logger.info("one")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.info("two")
    to_file.close()
    first, second = shaped.lines()
    assert texts([first]) == [("INFO", "one")]
    assert second == "two"
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_absl_app_does_not_double_either(shaped: Shaped) -> None:
    from absl import logging as absl_logging

    logger = shaped.begin("info")
    absl_logging.use_absl_handler()
    logger.info("one")
    lines = [line for line in shaped.lines() if "before flag parsing" not in line]
    assert len(lines) == 1
    assert texts(lines) == [("INFO", "one")]


def test_a_deprecation_is_one_line(shaped: Shaped) -> None:
    from launcher.wire.words.noise import Quiet

    logger = shaped.begin()
    logger.warning(
        "From x: f is deprecated and will be removed in a future version.\nInstructions for updating:\nUse g."
    )
    (line,) = shaped.lines()
    assert line.endswith("Instructions for updating: Use g.")
    assert Quiet().kept([line]) == []


@pytest.mark.parametrize(("level", "shown"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_levels(shaped: Shaped, level: str, shown: int) -> None:
    logger = shaped.begin(level)
    for say in (logger.debug, logger.info, logger.warning):
        say("x")
    mine = logging.getLogger("mine")
    for say in (mine.debug, mine.info, mine.warning):
        say("x")
    assert len(shaped.lines()) == 2 * shown
