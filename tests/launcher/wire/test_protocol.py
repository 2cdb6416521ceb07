"""What is said on the wire and written into events.jsonl reads back as it was."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from launcher.record import events
from launcher.wire import protocol, shapes


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
    written = {text for cls in protocol._KINDS.values() for text in cls.fields.values()}
    assert written <= shapes._CHECKS.keys()
