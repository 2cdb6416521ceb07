"""How long tasks live without a supervisor, and in which order they are stopped then."""

from __future__ import annotations

import time
from collections.abc import Callable

from launcher.agent.host.fence import Deadline, clock
from launcher.agent.host.options import Options
from launcher.agent.system.loop import Loop, Timer
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire.roles import TRAINERS, Role

_ORDER: tuple[tuple[Role, ...], ...] = (TRAINERS, (Role.EVALUATOR,), (Role.PS,))
_LOOK_S = 0.02
_LAST_GRACE_S = 1.0


class Lease:
    """Runs while nobody is connected; where a line may be cut unnoticed, always, from the last word of ours that the
    supervisor is known to have. When it has passed: trainers, evaluator, ps, each by the ladder; then ``on_end``. All
    of it takes the grace time and a few seconds: what trainers have used up of it, the others do not get.

    What has begun is carried through, even if somebody connects meanwhile. ``on_half`` is called halfway through a
    lease that ends without grace."""

    def __init__(
        self, loop: Loop, options: Options, attempts: TaskRunner, deadline: Deadline, on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._options = options
        self._attempts = attempts
        self._deadline = deadline
        self._on_end = on_end
        self._timers: list[Timer] = []
        self._passed_at: float | None = None
        self._has_grace = True
        self._heard = clock()
        self.on_half: Callable[[], None] = lambda: None

    @property
    def passed(self) -> bool:
        """Whether the end has begun."""
        return self._passed_at is not None

    def run(self) -> None:
        """Nobody is connected any more."""
        self._run(0.0)

    def renew(self) -> None:
        """Somebody is connected."""
        if not self._options.silence_s:
            self._cancel()

    def hear(self, at: float) -> None:
        """The supervisor has our word of that moment. He may forget it again no sooner than we do."""
        self._heard = max(self._heard, at)
        self._deadline.renew(self._heard)
        self._run(clock() - self._heard)

    def agree(self, *, grace: bool) -> None:
        """How it ends from now on."""
        self._has_grace = grace
        self._deadline.grace_s = self._options.grace_s if grace else 0.0
        self.hear(self._heard)

    def _run(self, over_s: float) -> None:
        self._cancel()
        lease_s = self._options.lease_s
        self._timers = [self._loop.later(max(0.0, lease_s - over_s), self.end)]
        if not self._has_grace and over_s < lease_s / 2:
            self._timers.append(self._loop.later(lease_s / 2 - over_s, self.on_half))

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

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
        """What is left of the time to end; a ps never reacts to TERM by itself. There is none where the run goes on
        without this host, as it has on one that was frozen."""
        if self._deadline.passed or not self._has_grace:
            return 0.0
        if Role.PS in _ORDER[position]:
            return min(_LAST_GRACE_S, self._options.grace_s)
        return min(self._options.grace_s, max(_LAST_GRACE_S, self._options.grace_s - self._passed_s()))

    def _too_early(self, position: int) -> bool:
        """A ps outlives the lease by the time that trainers of other hosts need to save."""
        waits_s = self._options.ps_wait_s if self._has_grace else 0.0
        return Role.PS in _ORDER[position] and self._passed_s() < waits_s

    def _passed_s(self) -> float:
        return time.monotonic() - (self._passed_at or 0.0)
