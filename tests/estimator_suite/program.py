"""Runs a file of the suite as a user's program that imports our library first: ``program.py FILE ARG…``."""

from __future__ import annotations

import runpy
import sys
import unittest

import launcher.estimator  # noqa: F401

# The suite is older than Python 3.12, in which these names went.
for was, now in {"assertEquals": "assertEqual", "assertRegexpMatches": "assertRegex"}.items():
    setattr(unittest.TestCase, was, getattr(unittest.TestCase, now))

del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
