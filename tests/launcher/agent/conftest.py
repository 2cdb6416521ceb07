from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.launcher.agent.harness import Host


@pytest.fixture
def make_host() -> Iterator[Callable[..., Host]]:
    """Makes hosts, and sweeps everything of theirs in the end."""
    run = f"tfa-{secrets.token_hex(4)}"
    hosts: list[Host] = []

    def make(**options: float) -> Host:
        hosts.append(Host(f"{run}-{len(hosts)}", **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """One host, connected."""
    return make_host().connect()
