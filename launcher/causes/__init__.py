"""Why something failed, in words: what happened, to whom, and what to do about it. Pure.

``of_exit`` judges how a task ended by a table of rules (``rules.py``); ``first`` names one of many failures and folds
the others under it.
"""

from __future__ import annotations

from launcher.causes.cause import KINDS, Cause, to_json
from launcher.causes.evidence import Known
from launcher.causes.exits import of_exit
from launcher.causes.folding import first, its_restarts, used_up
from launcher.causes.hangs import Standing, does, drain_timeout, hang, not_ready, straggler
from launcher.causes.others import (
    deadline,
    host_lost,
    launcher_failed,
    model_dirs_differ,
    not_started,
    refused,
    too_few_workers,
    untrained,
)

__all__ = [
    "KINDS",
    "Cause",
    "Known",
    "Standing",
    "deadline",
    "does",
    "drain_timeout",
    "first",
    "hang",
    "host_lost",
    "its_restarts",
    "launcher_failed",
    "model_dirs_differ",
    "not_ready",
    "not_started",
    "of_exit",
    "refused",
    "straggler",
    "to_json",
    "too_few_workers",
    "untrained",
    "used_up",
]
