"""What a keeper is started with, as one JSON argument, nothing secret among it; and what an agent gets from it."""

from __future__ import annotations

import json
import socket

from launcher.wire.forms.named import NamedTuple
from launcher.wire.private.folder import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.agent.tasks.standing import Standing

EXIT_BUSY = 75  # of a keeper that found another one, which may be starting or ending


class Options(NamedTuple):
    """``name``: by which the run's folder on this host is found; see ``folders``. Unlike ``run`` it says which host of
    the run this is, since several may share a machine.

    ``lease_s``: how long tasks live while no supervisor is connected. ``grace_s``: the longest wait between TERM
    and KILL when the lease has passed. ``ps_wait_s``: how long after the lease a ps lives on at least, for trainers
    of other hosts to save; 0 where the run has only this host. ``silence_s``: after how long without a word from
    the supervisor its line counts as lost, where a line may be cut unnoticed; 0 where it cannot. ``kept_mib``: as much
    of each attempt's output is kept for the supervisor. ``start``: whether
    a keeper may be started; a run that had one before must not take another for it, since the ports and the lock
    died with the first.
    """

    run: str
    name: str
    lease_s: float = 3.0
    grace_s: float = 30.0
    ps_wait_s: float = 0.0
    silence_s: float = 0.0
    kept_mib: int = 1024
    start: bool = True

    def to_json(self) -> str:
        """The argument for the command line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Reads the argument; unknown keys are passed over, a missing ``run`` or ``name`` raises KeyError."""
        body = json.loads(text)
        body["run"], body["name"]
        return cls(**{key: value for key, value in body.items() if key in cls._fields})


class Inheritance(NamedTuple):
    """What the keeper hands to an agent by forking it.

    ``home`` is the run's folder on this host, in which all of them live; ``agent_listener`` and ``task_listener`` are
    the sockets to accept from; ``line`` leads to the keeper, whose pid is ``keeper``; ``held`` are the descriptors that
    it holds, by name; ``number`` counts agents from 0; ``open_files`` is the soft limit of open files that tasks are to
    have. ``standing``: what all of them were forked from, if that can fork tasks.
    """

    home: Folder
    agent_listener: socket.socket
    task_listener: socket.socket
    line: socket.socket
    held: dict[str, tuple[int, ...]]
    keeper: int
    number: int
    open_files: int
    standing: Standing | None = None
