"""What holds for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and no property is wrong for it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
_MANY_FDS = 100  # more than after the last look
_seen = [0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where something is missing a test is skipped, with a line that says what; in CI that is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longreprtext or report.longrepr}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """What tests have left in circles, or before a fork of ours (``gc.freeze``), holds descriptors; select(), which
    some libraries still call, takes none above 1,023."""
    if _open() > _MANY_FDS + _seen[-1]:
        gc.unfreeze()
        gc.collect()
        _seen.append(_open())


def _open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
