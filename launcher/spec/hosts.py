"""The single machines that the ``hosts`` of a spec stand for."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.spec.texts import expand_range, port_range
from launcher.spec.types import Host, Ssh


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSite:
    """One machine. ``ports``: a closed range."""

    name: str
    address: str
    ssh: Ssh | None = None
    ports: tuple[int, int] | None = None
    gpus: int = 0


def expand_host(host: Host) -> tuple[HostSite, ...]:
    """The machines of one entry; its ranges advance together, and one address serves for all if it has no range."""
    names = expand_range(host.name)
    addresses = expand_range(host.address or host.name)
    if len(addresses) != len(names):
        addresses = (addresses * len(names))[: len(names)]
    ports = port_range(host.ports) if host.ports is not None else None
    return tuple(
        HostSite(name=name, address=address, ssh=host.ssh, ports=ports, gpus=host.gpus)
        for name, address in zip(names, addresses, strict=True)
    )
