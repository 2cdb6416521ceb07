"""One log format for a job and TensorFlow, on standard error."""

from __future__ import annotations

import logging

LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def configure_logging(level: str) -> None:
    """Sets level and format of the root logger, and lets TensorFlow's messages reach it once.

    TensorFlow adds a handler of its own to its logger where it is imported before the root has one; with both, each
    line would appear twice. TensorFlow's C++ messages are not governed by this (``TF_CPP_MIN_LOG_LEVEL`` is).
    """
    logging.basicConfig(level=level.upper(), format=_FORMAT, force=True)
    tensorflow = logging.getLogger("tensorflow")
    tensorflow.handlers.clear()
    tensorflow.propagate = True
    tensorflow.setLevel(level.upper())
