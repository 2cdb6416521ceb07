"""One log format for a job and TensorFlow, on standard error."""

from __future__ import annotations

import logging
import sys

from launcher.estimator.adjustments.reporting.log_format import Formatter, level_wanted

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str) -> None:
    """Sets level and format of the root logger, and lets TensorFlow's messages reach it once. ``tflaunch --log-level``
    goes before ``level``.

    TensorFlow adds a handler of its own to its logger where it is imported before the root has one; with both, each
    line would appear twice. TensorFlow's C++ messages are not governed by this (``TF_CPP_MIN_LOG_LEVEL`` is).
    """
    chosen = level_wanted() or level.upper()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=chosen, handlers=[handler], force=True)
    tensorflow = logging.getLogger("tensorflow")
    tensorflow.handlers.clear()
    tensorflow.propagate = True
    tensorflow.setLevel(chosen)
