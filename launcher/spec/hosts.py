"""The single machines that the ``hosts`` of a spec stand for, and what differs between kinds of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from launcher.spec.texts import expand_range, port_range
from launcher.spec.types import Host, Ssh

CONNECT_TIMEOUT_S = 15
ACCEPT_NEW_HOST_KEYS = "accept_new_host_keys"  # a detail of an SSH host that no spec has


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What differs between hosts, as far as it matters to anybody but who reaches them.

    ``can_fall_silent``: a pipe to it may be cut without its end being seen, so that silence must tell;
    ``shares_files``: it sees the files of this machine at the same paths, so that nothing has to be deployed;
    ``inherits_env``: what runs there starts from the environment of tflaunch.
    """

    can_fall_silent: bool = False
    shares_files: bool = True
    inherits_env: bool = True


HERE = Traits()
FAR = Traits(can_fall_silent=True, shares_files=False, inherits_env=False)


def common(traits: Iterable[Traits]) -> Traits:
    """What can be relied on wherever a task may run."""
    each = tuple(traits)
    return Traits(
        can_fall_silent=any(item.can_fall_silent for item in each),
        shares_files=all(item.shares_files for item in each),
        inherits_env=all(item.inherits_env for item in each),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSite:
    """One machine. ``ports``: a closed range."""

    name: str
    address: str
    ssh: Ssh | None = None
    ports: tuple[int, int] | None = None
    gpus: int = 0

    @property
    def transport(self) -> str:
        """By which reach programs run there."""
        return "local" if self.ssh is None else "ssh"

    @property
    def traits(self) -> Traits:
        return HERE if self.ssh is None else FAR

    @property
    def details(self) -> Mapping[str, str]:
        """What its reach must know."""
        if self.ssh is None:
            return MappingProxyType({})
        given = {key: str(value) for key, value in self.ssh.model_dump(exclude_none=True).items()}
        return MappingProxyType({**given, "host": given.get("host", self.address)})

    @property
    def way(self) -> str:
        """How it is reached, in words."""
        if self.ssh is None:
            return "this machine"
        user = f"{self.ssh.user}@" if self.ssh.user is not None else ""
        port = f":{self.ssh.port}" if self.ssh.port is not None else ""
        return f"ssh {user}{self.ssh.host or self.address}{port}"

    @property
    def connect_timeout_s(self) -> float:
        """How long it may take to answer at all."""
        given = self.ssh.connect_timeout_s if self.ssh is not None else None
        return given if given is not None else CONNECT_TIMEOUT_S


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
