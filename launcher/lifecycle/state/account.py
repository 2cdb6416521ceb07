"""What it costs that tasks go elsewhere, come or leave."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from launcher.record.events import MoveOver, Scaled
from launcher.wire.roles import TaskId


@dataclass(kw_only=True, eq=False)
class Account:
    """Of one move, or one change of size, from its beginning until all train that are to.

    ``seen_at``: when each that trained was last known to; ``usual_s``: how far apart its reports are as a rule;
    ``idle_s``: for how long it has trained nothing; ``duplicates``: rows of the input that had been trained again
    before. When it is over: ``event``, which is told when the input has been counted again, at ``told_by`` at the
    latest; ``over_at``.
    """

    began_at: float
    seen_at: dict[TaskId, float] = field(default_factory=dict)
    usual_s: dict[TaskId, float] = field(default_factory=dict)
    idle_s: dict[TaskId, float] = field(default_factory=dict)
    duplicates: int | None = None
    event: MoveOver | Scaled | None = None
    over_at: float = math.inf
    told_by: float = math.inf


@dataclass(kw_only=True, eq=False)
class Scaling:
    """A change of the number of workers that is under way: from ``before``, to ``wanted``."""

    before: int
    wanted: int
    account: Account
