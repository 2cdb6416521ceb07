"""What is said on the wire and written into events.jsonl reads back as it was."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from launcher.record import events
from launcher.wire import messages, protocol
from launcher.wire.forms import shapes


def test_an_object_with_a_kind_of_its_own_stays_an_object() -> None:
    cause = {"kind": "signal", "message": "killed", "task": None}
    ended = events.RunEnded(outcome="failed", exit_code=1, duration_s=1.0, cause=cause)
    line = events.to_line(events.Recorded(n=1, at=datetime.now(timezone.utc), event=ended))
    assert events.from_line(line).event == ended


@pytest.mark.parametrize("body", ["text", None, {}, {"kind": "cause"}])
def test_where_a_message_belongs_nothing_else_is_taken(body: object) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.from_json({"kind": "tell", "task": "ps:0", "message": body})


def test_messages_within_messages_read_back() -> None:
    told = protocol.Tell(task="ps:0", message=protocol.Gate(open=True))
    assert protocol.decode(protocol.encode(told)) == told


def test_every_field_s_type_can_be_checked() -> None:
    for cls in messages._KINDS.values():
        for written in cls.fields.values():
            assert not shapes.fits(object(), written)


@pytest.mark.parametrize(
    ("written", "good", "bad"),
    [
        ("int", [0, -1, 2**63 - 1], [True, 1.0, "1", None, 2**63, 10**30]),
        ("float", [0, 1.5], [float("nan"), float("inf"), "1", None, True]),
        ("float | None", [0, float("nan"), None], ["1", True]),
        ("str", ["", "é🙂", "\0"], [b"x", None, 1, "\ud800", "\udcff"]),
        ("bool", [True], [0, 1, None]),
        ("tuple[str, ...]", [[], ["a"], ("a",)], ["a", [1], None]),
        ("Mapping[str, int]", [{}, {"a": 1}], [[], {"a": "1"}, {"\ud800": 1}]),
        ("Mapping[str, float | None]", [{"a": None, "b": float("inf")}], [{"a": "x"}]),
        ("Mapping[str, JsonValue] | None", [None, {"a": [{"b": 1}]}], [{"a": [{"b": "\ud800"}]}, 1]),
        ("tuple[Mapping[str, JsonValue], ...]", [[{"a": 1}]], [{"a": 1}, [1]]),
    ],
)
def test_values_of_other_types_are_told_from_good_ones(written: str, good: list[object], bad: list[object]) -> None:
    assert all(shapes.fits(value, written) for value in good)
    assert not any(shapes.fits(value, written) for value in bad)
