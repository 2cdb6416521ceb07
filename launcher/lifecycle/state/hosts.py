"""What is known of a run's hosts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from launcher.causes import Cause
from launcher.plan.model import PlannedHost


class HostState(str, Enum):
    """How a host stands. A refused one is lost before it was had."""

    ASKED = "asked"  # its engine has not answered yet
    GRANTED = "granted"  # it is to be had, and its agent has not answered yet
    ANSWERING = "answering"
    LOST = "lost"  # never used again


@dataclass(kw_only=True, eq=False)
class HostRecord:
    """What is known of one host. ``host``: as it was planned, and then as it was granted; ``open_ports``: why its ports
    cannot be guarded; ``reserved``: the newest generation that it holds ports for; ``cause``: why it was lost, when
    nothing had begun yet, and ``lost_at``: when; ``drained``: everything is to leave it. ``has_grace``: when its lease
    is over, its tasks get the grace time, as far as its agent has agreed; ``told_grace``: what it was told of that
    last. ``replaces``: the lost host in whose place it was asked for."""

    host: PlannedHost
    state: HostState = HostState.ASKED
    open_ports: str = ""
    reserved: int = 0
    cause: Cause | None = None
    lost_at: float = 0.0
    drained: bool = False
    has_grace: bool = True
    told_grace: bool = True
    replaces: str = ""
