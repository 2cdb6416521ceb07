"""How a run went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.record.states import Outcome
from launcher.wire.errors import TflaunchError


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run that is over.

    ``outcome``: ``succeeded``, ``failed``, ``timed_out``, ``interrupted`` or ``lost``; ``exit_code``: what the command
    line would have ended with; ``cause``: the first cause of a failure (task, host, kind, exit, message, advice);
    ``metrics``: of the last evaluation, by name; ``report``: ``report.json``; ``folder``: the run's folder.
    """

    outcome: str
    exit_code: int
    cause: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    report: Mapping[str, Any] = field(repr=False)
    folder: Path

    @property
    def succeeded(self) -> bool:
        return self.outcome == Outcome.SUCCEEDED.value

    def check(self) -> Result:
        """The result itself. Raises RunFailedError unless the run succeeded."""
        if not self.succeeded:
            raise RunFailedError(self)
        return self


class RunFailedError(TflaunchError):
    """A run did not succeed, and whoever started it asked to be told so. ``result``: how it went."""

    def __init__(self, result: Result) -> None:
        self.result = result
        cause = result.cause or {}
        why = "; ".join(str(cause[key]) for key in ("message", "advice") if cause.get(key))
        super().__init__(f"{result.folder.name} {result.outcome.replace('_', ' ')}{f': {why}' if why else ''}")
