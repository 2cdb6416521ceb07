"""The table: hosts beside each other while they fit, those without a problem folded when they do not."""

from __future__ import annotations

import io
import re

import pytest

from launcher.doctor import view
from launcher.doctor.findings import Finding, Level
from launcher.doctor.wanted import Need, Wanted
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import FAR


def wanted(count: int) -> Wanted:
    needs = {
        f"node{number:02d}": Need(
            host=PlannedHost(name=f"node{number:02d}", address=f"10.0.0.{number}", traits=FAR),
            tasks=(),
            interpreters=(),
            model_dir="/m",
        )
        for number in range(count)
    }
    return Wanted(needs=needs, chief="node00", model_dir="/m")


def findings(wants: Wanted, *bad: str) -> list[Finding]:
    made = [Finding(check="tensorflow", host=host, level=Level.OK, value="2.15.1") for host in wants.needs]
    return [
        Finding(
            check="tensorflow",
            host=found.host,
            level=Level.FAILED,
            value="2.14.0",
            message="TensorFlow 2.14.0,\nwhere the others have \x1b[31m2.15.1",
            advice="install TensorFlow 2.15.1 there",
        )
        if found.host in bad
        else found
        for found in made
    ]


class Terminal(io.StringIO):
    """A terminal as wide as COLUMNS says."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def drawn(wants: Wanted, found: list[Finding], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    return re.sub("\x1b\\[[0-9;]*m", "", view.as_text(wants, found, Terminal()))


def test_hosts_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    wants = wanted(3)
    lines = drawn(wants, findings(wants, "node01"), 80, monkeypatch).splitlines()
    assert lines[0].split() == ["node00", "node01", "node02"]
    assert lines[1].split() == ["tensorflow", "✓", "2.15.1", "✗", "2.14.0", "✓", "2.15.1"]
    assert lines[3] == "✗ tensorflow  node01: TensorFlow 2.14.0, where the others have 2.15.1"
    assert lines[4].strip() == "to do: install TensorFlow 2.15.1 there"
    assert lines[-1] == "not ready: something stands in the way on 1 of 3 hosts"


@pytest.mark.parametrize("width", [40, 80, 160])
def test_it_is_no_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wants = wanted(50)
    bad = [f"node{number:02d}" for number in range(0, 50, 3)]
    text = drawn(wants, findings(wants, *bad), width, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    assert all(name in text for name in bad)


def test_hosts_without_a_problem_share_a_column_when_room_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    wants = wanted(50)
    lines = drawn(wants, findings(wants, "node07"), 80, monkeypatch).splitlines()
    assert lines[0].split() == ["node07", "49", "others"]
    assert lines[1].split() == ["tensorflow", "✗", "2.14.0", "✓", "2.15.1"]


def test_a_host_with_the_same_trouble_twice_is_named_once() -> None:
    """As when two interpreters of a host cannot import TensorFlow."""
    wants = wanted(2)
    text = view.as_text(wants, [*findings(wants, "node00", "node01"), *findings(wants, "node00")], io.StringIO())
    assert "✗ tensorflow  node00, node01: TensorFlow 2.14.0" in text


def test_without_a_terminal_a_message_is_one_line_and_has_no_colour() -> None:
    wants = wanted(2)
    text = view.as_text(wants, findings(wants, "node00", "node01"), io.StringIO())
    assert "\x1b" not in text
    assert "✗ tensorflow  node00, node01: TensorFlow 2.14.0, where the others have 2.15.1\n" in text


def test_a_warning_is_shown_and_does_not_stand_in_the_way() -> None:
    wants = wanted(2)
    warning = Finding(check="clock", host="node01", level=Level.WARNING, value="+5 s", message="fast", advice="set it")
    text = view.as_text(wants, [*findings(wants), warning], io.StringIO())
    assert "! clock       node01: fast\n              to do: set it\n" in text
    assert text.endswith("\nready: all 2 hosts; 1 warning\n")


def test_json_has_every_finding() -> None:
    from launcher.doctor.facts import HostFacts

    wants = wanted(2)
    said = view.as_json(wants, dict.fromkeys(wants.needs, HostFacts()), findings(wants, "node01"))
    assert said["ok"] is False
    assert [(found["host"], found["level"]) for found in said["checks"]] == [("node00", "ok"), ("node01", "failed")]  # type: ignore[attr-defined]
