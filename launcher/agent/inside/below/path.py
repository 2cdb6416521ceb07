"""The variable by which Python programs come to ``sitecustomize.py``. Imported by the agent, and so imports little."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

_VARIABLE = "PYTHONPATH"
_FOLDER = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120


def lead(environ: MutableMapping[str, str]) -> None:
    """Has Python programs that are started with this environment come here."""
    others = [entry for entry in environ.get(_VARIABLE, "").split(os.pathsep) if entry and not _is_here(entry)]
    environ[_VARIABLE] = os.pathsep.join([_FOLDER, *others])


def _is_here(entry: str) -> bool:
    return entry.endswith("/launcher/agent/inside/below")  # also that of a run which this run is a task of
