"""A Slurm job whose first node has died, and with it who was in charge of the run: nobody is left to end it, since a
job with ``--no-kill`` outlives any of its nodes. The others do, when the run's lease has passed there."""

from __future__ import annotations

import os
import re
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_S = 5.0
_PATIENCE_S = 900.0  # Slurm takes a node for dead after SlurmdTimeout, often five minutes
_ANSWER_S = 30.0
_FIELD = re.compile(r"(\w+)=(\S*)")
_DEAD = re.compile(r"DOWN|NOT_RESPONDING|\*")


def end(requeue: int) -> None:
    """Has the job wait again, if it may and has done so fewer than ``requeue`` times, or cancels it; returns without
    that if it ends by itself, or was no batch job. Blocks."""
    job = os.environ.get("SLURM_JOB_ID", "")
    until = time.monotonic() + _PATIENCE_S
    while job and time.monotonic() < until:
        facts = _facts("job", job)
        if facts.get("JobState", "RUNNING") != "RUNNING" or facts.get("BatchFlag") == "0":
            return
        if _DEAD.search(_facts("node", facts.get("BatchHost", "")).get("State", "")):
            again = facts.get("Requeue") == "1" and int(facts.get("Restarts", "0")) < requeue
            _ask("scontrol", "requeue", job) if again else _ask("scancel", job)
            return
        time.sleep(_LOOK_S)


def _facts(kind: str, name: str) -> Mapping[str, str]:
    """What Slurm says of it; nothing while it does not answer."""
    return dict(_FIELD.findall(_ask("scontrol", "--oneliner", "show", kind, name))) if name else {}


def _ask(*argv: str) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
