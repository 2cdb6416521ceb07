"""Puts a TF_CONFIG together that is too long for one variable of a new process (see ``launcher.plan.tf_config``)."""

from __future__ import annotations

from collections.abc import MutableMapping

PIECE_PREFIX = "TFLAUNCH_TF_CONFIG_"


def join(environ: MutableMapping[str, str]) -> None:
    """Replaces TF_CONFIG by its full form, if that has come in pieces. Within a process a variable may be longer."""
    pieces: list[str] = []
    while (piece := environ.pop(f"{PIECE_PREFIX}{len(pieces)}", None)) is not None:
        pieces.append(piece)
    if pieces:
        environ["TF_CONFIG"] = "".join(pieces)
