"""What tests over hosts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.namespaces import Network, missing, network


def require_hosts() -> None:
    """Skips where no hosts can be made."""
    if lacking := missing():
        pytest.skip(lacking)


@pytest.fixture(scope="module")
def three_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Hosts a, b and c."""
    require_hosts()
    with network(Path(tmp_path_factory.mktemp("net")), ["a", "b", "c"]) as made:
        yield made
