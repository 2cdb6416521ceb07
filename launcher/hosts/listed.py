"""The hosts of the spec, or this machine: there as long as they are, for whoever asks."""

from __future__ import annotations

from launcher.hosts.engine import Engine, Needs
from launcher.spec.engines import NoKeys


class Listed(Engine):
    """Grants what is asked for as it was planned."""

    keys = NoKeys

    def ask(self, needs: Needs) -> None:
        """Grants it at once."""
        self.answers.granted(needs.host)
