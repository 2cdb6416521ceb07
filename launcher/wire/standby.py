"""The interpreter that a process which starts runs keeps for its next ones: which one a run would like.

What it says travels in a variable of the relay's, since it may hold values of the user's variables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from launcher.wire.forms.named import NamedTuple

VARIABLE = "TFLAUNCH_STANDBY"


class Wanted(NamedTuple):
    """``owner``: the process that it belongs to (see ``peers.identity``); ``key``, ``python``, ``modules``, ``env``: as
    in the order to preload one (``protocol.Preload``); ``guarded``: whether the ports of its tasks are."""

    owner: str
    key: str
    python: tuple[str, ...]
    modules: tuple[str, ...]
    env: Mapping[str, str | None]
    guarded: bool

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Wanted:
        body = json.loads(text)
        return cls(**{**body, "python": tuple(body["python"]), "modules": tuple(body["modules"])})
