from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launcher.agent.harness import Host


@pytest.fixture
def make_host() -> Iterator[Callable[..., Host]]:
    """Makes hosts in short folders, and sweeps everything of theirs in the end."""
    base = Path(tempfile.mkdtemp(prefix="tfa", dir="/tmp"))
    hosts: list[Host] = []

    def make(**options: float) -> Host:
        hosts.append(Host(base / str(len(hosts)), f"{base.name}-{len(hosts)}", **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
    shutil.rmtree(base)


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """One host, connected."""
    return make_host().connect()
