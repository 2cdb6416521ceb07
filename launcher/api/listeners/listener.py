"""What a listener is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The run that a listener hears of. ``plan``: ``plan.json``, as it stands there."""

    name: str
    folder: Path
    plan: Mapping[str, Any]


class Listener:
    """Base of all listeners. Each is called in a thread of its own, in a process of its own: what it raises is written
    to ``listeners.log`` in the run's folder, and what it is too slow for is left out, counted there."""

    def __init__(self, where: str, run: RunFacts) -> None:
        """``where``: what the spec says of this one, ``listeners: {NAME: WHERE}``."""
        self.where = where
        self.run = run

    def on_event(self, event: Mapping[str, Any]) -> None:
        """What happened: an object as ``tflaunch attach --json`` prints it. The last one is ``run_ended``."""
        raise NotImplementedError
