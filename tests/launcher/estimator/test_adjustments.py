from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.estimator.adjustments import adjust
from launcher.wire import adjustments


def test_every_adjustment_is_made_and_no_other() -> None:
    made = {name for name, _ in adjust._SIMPLE} | {name for name, _ in adjust._HOOKS} | {"eval-delay", "eval-drain"}
    assert made | adjustments.CHOSEN_OUTSIDE == set(adjustments.NAMES)  # those are made before a program begins


def test_names_are_unique_and_explained() -> None:
    assert len(set(adjustments.NAMES)) == len(adjustments.NAMES)
    for item in adjustments.ADJUSTMENTS:
        assert item.title and item.why and item.roles
        assert "\n" not in item.title and len(item.title) < 100
        assert set(item.needs) <= set(adjustments.NAMES)


def test_what_is_on_by_default_lacks_nothing() -> None:
    assert adjustments.unmet(adjustments.DEFAULT) == ()
    assert adjustments.unmet({"worker-start"}) == (("worker-start", "ready-poll"),)


def test_a_role_has_its_own() -> None:
    names = [item.name for item in adjustments.for_role(adjustments.DEFAULT, "ps")]
    assert names == ["port-guard", "model-dir", "roaming", "device-filters", "heartbeat", "log-format"]
    assert adjustments.for_role({"heartbeat"}, "worker")[0].name == "heartbeat"


def test_unknown_names_are_refused() -> None:
    assert adjustments.unknown(["heartbeat", "x", "a"]) == ("a", "x")
    with pytest.raises(ValueError, match="no such adjustment: ready-pol;"):
        adjust.apply({"ready-pol"})


def test_importing_the_library_imports_no_tensorflow() -> None:
    program = (
        "import sys, launcher.wire.adjustments, launcher.estimator, launcher.estimator.adjustments.adjust\n"
        "sys.exit(any(name.split('.')[0] in ('tensorflow', 'keras', 'numpy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
