"""profile: how long the hooks of a session take, outside of what the step itself runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from time import perf_counter
from typing import Any

_MOST = 5  # hooks that are told of


class HookTimes:
    """Adds up the time in ``before_run`` and ``after_run`` of ``hooks``, by class. A hook that takes no attributes is
    left out; one that is used again is told of by its last session."""

    def __init__(self, hooks: Sequence[Any]) -> None:
        self._spent_s: dict[str, float] = {}
        self._steps = 0
        counts = True  # the first one counts the steps
        for hook in hooks:
            try:
                hook.before_run = self._timed(hook, hook.before_run, counts=counts)
                hook.after_run = self._timed(hook, hook.after_run)
                counts = False
            except AttributeError:
                continue

    def take(self) -> dict[str, float]:
        """Microseconds a step since the last call, of those that take longest."""
        spent, steps = self._spent_s, max(1, self._steps)
        most = sorted(spent.items(), key=lambda pair: -pair[1])[:_MOST]
        self._spent_s, self._steps = {}, 0
        return {name: round(seconds / steps * 1e6, 1) for name, seconds in most}

    def _timed(self, hook: Any, method: Callable[..., Any], *, counts: bool = False) -> Callable[..., Any]:
        name = getattr(hook, "_tflaunch_name", type(hook).__name__.lstrip("_"))
        original = getattr(method, "_tflaunch_timed", method)

        @wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._steps += counts
            began_s = perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._spent_s[name] = self._spent_s.get(name, 0.0) + perf_counter() - began_s

        timed._tflaunch_timed = original  # type: ignore[attr-defined]
        return timed
