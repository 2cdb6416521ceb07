"""Runs a file of the suite as a user's program that imports our library first: ``program.py FILE ARG…``."""

from __future__ import annotations

import runpy
import sys

import launcher.estimator  # noqa: F401

del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
