from __future__ import annotations

import os

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def test_only_usable_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.esmm.input import usable_cores

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 6})
    assert usable_cores() == 3
