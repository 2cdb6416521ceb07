"""The parameters of a run, as its command has them."""

from __future__ import annotations

from collections.abc import Sequence


def parameters_of(argv: Sequence[str]) -> dict[str, str]:
    """Of ``python train.py --lr 0.1 --deep --name=x``: ``lr`` 0.1, ``deep`` true, ``name`` x. Of one that stands there
    twice the last counts."""
    found: dict[str, str] = {}
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or len(name) < 3:
            continue
        following = argv[at + 1] if at + 1 < len(argv) and not argv[at + 1].startswith("--") else "true"
        found[name[2:].replace("-", "_")] = value if equals else following
    return found
