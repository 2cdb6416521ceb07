"""How many cores this task may use for its input."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from launcher.wire.private import cores
from launcher.wire.protocol import TRAINERS_VARIABLE


def input_cores(environ: Mapping[str, str] | None = None) -> int:
    """Those that this process may use, shared with the other trainers of the host; at least 1."""
    environ = os.environ if environ is None else environ
    return max(1, math.floor(cores.usable(environ) / _tasks(environ)))


def _tasks(environ: Mapping[str, str]) -> int:
    text = environ.get(TRAINERS_VARIABLE, "")
    return max(1, int(text)) if text.isdigit() else 1
