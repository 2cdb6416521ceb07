"""How long tasks live without a supervisor, and in which order they are stopped then."""

from __future__ import annotations

import time
from collections.abc import Callable

from launcher.agent.host.fence import Deadline
from launcher.agent.host.options import Options
from launcher.agent.system.loop import Loop, Timer
from launcher.agent.tasks.attempts import Attempts
from launcher.wire.roles import TRAINERS, Role

_ORDER: tuple[tuple[Role, ...], ...] = (TRAINERS, (Role.EVALUATOR,), (Role.PS,))
_LOOK_S = 0.02
_LAST_GRACE_S = 1.0


class Lease:
    """Runs while nobody is connected. When it has passed: trainers, evaluator, ps, each by the ladder; then ``on_end``.
    All of it takes the grace time and a few seconds: what trainers have used up of it, the others do not get.

    What has begun is carried through, even if somebody connects meanwhile.
    """

    def __init__(
        self, loop: Loop, options: Options, attempts: Attempts, deadline: Deadline, on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._options = options
        self._attempts = attempts
        self._deadline = deadline
        self._on_end = on_end
        self._timer: Timer | None = None
        self._passed_at: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the end has begun."""
        return self._passed_at is not None

    def run(self, *, silent_s: float = 0.0) -> None:
        """Nobody is connected any more; ``silent_s`` of the lease are over already."""
        self.renew()
        self._timer = self._loop.later(max(0.0, self._options.lease_s - silent_s), self.end)

    def renew(self) -> None:
        """Somebody is connected."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """Stops the tasks in order, beginning now."""
        if not self.passed:
            self._passed_at = time.monotonic()
            self._step(0)

    def _step(self, position: int, told: bool = False) -> None:
        if position == len(_ORDER):
            self._on_end()
            return
        alive = self._attempts.alive(*_ORDER[position])
        if not alive:
            self._step(position + 1)
        elif told or self._too_early(position):
            self._loop.later(_LOOK_S, lambda: self._step(position, told))
        else:
            for attempt in alive:
                self._attempts.stop(attempt.task.name, attempt.number, self._grace_s(position))
            self._loop.later(_LOOK_S, lambda: self._step(position, True))

    def _grace_s(self, position: int) -> float:
        """What is left of the time to end; a ps never reacts to TERM by itself. On a host that was frozen there is none
        left: the run has gone on without it."""
        if self._deadline.passed:
            return 0.0
        if Role.PS in _ORDER[position]:
            return min(_LAST_GRACE_S, self._options.grace_s)
        return min(self._options.grace_s, max(_LAST_GRACE_S, self._options.grace_s - self._passed_s()))

    def _too_early(self, position: int) -> bool:
        """A ps outlives the lease by the time that trainers of other hosts need to save."""
        return Role.PS in _ORDER[position] and self._passed_s() < self._options.ps_wait_s

    def _passed_s(self) -> float:
        return time.monotonic() - (self._passed_at or 0.0)
