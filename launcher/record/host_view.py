"""A host of a run: a fold over what its events tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.record.events import HostChanged
from launcher.wire.protocol import JsonValue


@dataclass(slots=True)
class HostView:
    """``granted``: the host as its engine gave it, where that was not known before."""

    name: str
    state: str = ""
    granted: Mapping[str, JsonValue] = field(default_factory=dict)
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    message: str = ""

    def apply(self, event: HostChanged) -> None:
        """Takes the next event."""
        self.state, self.message = event.state, event.message
        if event.state == "granted":
            self.granted = event.facts
        else:
            self.facts = event.facts or self.facts
