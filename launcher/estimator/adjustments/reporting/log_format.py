"""log-format: one form for what Python programs log, with time, task, file and line, and each message once.

TensorFlow gives its logger a handler of its own when it is imported; a program that sets up logging, or only calls
``logging.info``, then has every message of TensorFlow twice. The handler here is silent as soon as there is another
one that shows the message, so that a set-up of the program's own wins, whenever it comes.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task
from launcher.wire.protocol import LOG_LEVEL_VARIABLE, TASK_VARIABLE

TF_LOGGING = "tensorflow.python.platform.tf_logging"
TENSORFLOW = "tensorflow"
_SHAPING = ("format", "handlers", "filename", "style", "datefmt")  # what says how basicConfig is to write


class Formatter(logging.Formatter):
    """``2026-01-02 03:04:05.678 INFO worker:1 train.py:42] message``. A warning that something is deprecated, which
    TensorFlow spreads over several lines, stays on one, so that a line can be taken for what it is."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        task = os.environ.get(TASK_VARIABLE, "")
        super().__init__(f"%(asctime)s %(levelname)s {task + ' ' if task else ''}%(filename)s:%(lineno)d] %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        if "Instructions for updating:" in record.message:
            record.message = " ".join(record.message.split())
        return super().formatMessage(record)


class Handler(logging.StreamHandler):  # type: ignore[type-arg]  # not generic before Python 3.11
    """Writes to standard error what no other handler of its logger, or of the root, shows."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(sys.stderr)
        self._logger = logger
        self.setFormatter(Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        others = [other for other in self._logger.handlers if other is not self and _is_console(other)]
        if not others and not (self._logger.propagate and logging.getLogger().handlers):
            super().emit(record)


def _is_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)


def level_wanted() -> int | None:
    """The level that ``--log-level`` named, None without it."""
    level = logging.getLevelName(os.environ.get(LOG_LEVEL_VARIABLE, "").upper())
    return level if isinstance(level, int) else None


def shape(patches: Patches, task: Task) -> None:
    """Give TensorFlow's logger, absl's and the root's defaults that form, and the level that was asked for."""
    module: Any = importlib.import_module(TF_LOGGING)
    logger: logging.Logger = module.get_logger()
    patches.set(logger, "findCaller", _finder_of_callers(module.__file__))
    kept = [handler for handler in logger.handlers if not _is_console(handler)]
    patches.set(logger, "handlers", [*kept, Handler(logger)])
    last_resort: Any = logging.lastResort
    if last_resort is not None:
        patches.set(last_resort, "formatter", Formatter())
    patches.wrap(logging, "basicConfig", _basic_config)
    absl: Any = sys.modules.get("absl.logging")
    if absl is not None:
        patches.set(absl.get_absl_handler().python_handler, "formatter", Formatter())
    level = level_wanted()
    if level is not None:
        for owner in (logger, logging.getLogger(), last_resort):
            if owner is not None:
                patches.set(owner, "level", level)
        _forget_levels()


def _finder_of_callers(tf_logging: str) -> Callable[..., tuple[str, int, str, str | None]]:
    """Who logs. TensorFlow's own finder takes a direct caller of its logger for part of it, and names his caller."""
    skipped = {logging.Logger.info.__code__.co_filename, tf_logging}

    def find(stack_info: bool = False, stacklevel: int = 1) -> tuple[str, int, str, str | None]:
        frame = sys._getframe(1)
        while frame.f_back is not None and (frame.f_code.co_filename in skipped or stacklevel > 1):
            stacklevel -= frame.f_code.co_filename not in skipped
            frame = frame.f_back
        stack = "".join(traceback.format_stack(frame)).rstrip("\n") if stack_info else None
        return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, stack

    return find


def _basic_config(original: Callable[..., None], **options: Any) -> None:
    """What a program says of the form stands; where it says nothing, it is ours."""
    root = logging.getLogger()
    before = list(root.handlers)
    original(**options)
    if not any(name in options for name in _SHAPING):
        for handler in root.handlers:
            if handler not in before:
                handler.setFormatter(Formatter())


def _forget_levels() -> None:
    """Loggers remember for which levels they are on."""
    manager: Any = logging.Logger.manager
    manager._clear_cache()
