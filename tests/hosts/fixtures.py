"""What tests over hosts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.namespaces import Network, missing, network


def require_hosts() -> None:
    """Skips where no hosts can be made; in CI that is a failure."""
    lacking = missing()
    if lacking and os.environ.get("CI"):
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)


@pytest.fixture(scope="module")
def three_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Hosts a, b and c."""
    require_hosts()
    with network(Path(tmp_path_factory.mktemp("net")), ["a", "b", "c"]) as made:
        yield made
