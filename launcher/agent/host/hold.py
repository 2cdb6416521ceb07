"""Starts a run's keeper, and stays as long as anything of the run lives here: where all that was started ends with its
first process, as a step of Slurm does, that process is this one.

Whoever takes the host away says so to that process alone, by SIGTERM; it passes the word on. If the run has ended here
because its lease had passed, the job may have nobody else to end it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from launcher.agent.host import orphaned_job, relay
from launcher.agent.host.fence import LastWord
from launcher.agent.host.options import Options
from launcher.wire.private import peers, registry
from launcher.wire.variables import ENDING_MARKER, READY_MARKER
from launcher.wire.words import limits

_LOOK_S = 0.1


def main(argument: str) -> int:
    """Says that the agent can be connected to, and returns when the run has gone from this host. Blocks."""
    options = Options.from_json(argument)
    signal.signal(signal.SIGTERM, lambda number, frame: _say(ENDING_MARKER))
    try:
        found = relay.connect(options)
    except (registry.FolderError, peers.ForeignPeerError, OSError) as error:
        sys.stderr.write(f"{limits.told(error)}\n")
        return 1
    if found is None:
        return 1
    agent, home = found
    agent.close()
    last_word = LastWord(Path(home.path))
    _say(READY_MARKER)
    while home.lived_in():
        last_word.look()
        time.sleep(_LOOK_S)
    if last_word.is_older_than(options.lease_s):
        orphaned_job.end(json.loads(argument).get("requeue", 0))
    return 0


def _say(marker: bytes) -> None:
    """To a supervisor that may have gone: then the lease ends the run here."""
    try:
        os.write(1, marker)
    except OSError:
        return
