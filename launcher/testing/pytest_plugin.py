"""The pytest plugin: clusters of a user's own job in a user's own tests.

    def test_my_job_survives_a_lost_ps(tflaunch):
        run = tflaunch("train.py", "--max-steps", "300", workers=2, inject=["kill ps:0 at step 100"])
        assert run.succeeded
        assert run.report["drills"][0]["recovered_after_s"] < 60

A failed test shows the summary of its runs and their first cause. A run ends with its test, also on Ctrl-C, and with
pytest itself, should that be killed. Loading the plugin imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from launcher.testing import Clusters

_RUNS = pytest.StashKey["Clusters"]()


@pytest.fixture
def tflaunch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clusters]:
    """Starts a cluster of a command and waits for its end: ``run = tflaunch("train.py", workers=2)``.

    See ``launcher.testing.Clusters`` for what it takes and ``ClusterRun`` for what it gives.
    """
    from launcher.testing import Clusters

    clusters = Clusters(folder=tmp_path, cwd=request.config.invocation_params.dir)
    request.node.stash[_RUNS] = clusters
    try:
        yield clusters
    finally:
        clusters.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Has a failed test show what its runs were."""
    report = yield
    clusters = item.stash.get(_RUNS, None)
    if clusters is not None and report.when == "call" and report.failed:
        report.sections += [(f"tflaunch: {run.name}", run.summary) for run in clusters.runs]
    return report
