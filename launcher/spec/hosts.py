"""The single machines that the ``hosts`` of a spec stand for, what differs between kinds of them, and which task runs
on which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from types import MappingProxyType

from launcher.spec.texts import expand_range, port_range
from launcher.spec.types import Host, Ssh
from launcher.wire.roles import ROLES, TRAINERS, Role, TaskId

CONNECT_TIMEOUT_S = 15
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
ACCEPT_NEW_HOST_KEYS = "accept_new_host_keys"  # a detail of an SSH host that no spec has


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What differs between hosts, as far as it matters to anybody but who reaches them.

    ``can_fall_silent``: a pipe to it may be cut without its end being seen, so that silence must tell;
    ``shares_files``: it sees the files of this machine at the same paths, so that nothing has to be deployed;
    ``inherits_env``: what runs there starts from the environment of tflaunch;
    ``says_when_to_end``: who takes it away says so before, by SIGTERM, and to several processes of the run;
    ``replaceable``: when it is lost, its engine can be asked for another.
    """

    can_fall_silent: bool = False
    shares_files: bool = True
    inherits_env: bool = True
    says_when_to_end: bool = False
    replaceable: bool = False


HERE = Traits()
FAR = Traits(can_fall_silent=True, shares_files=False, inherits_env=False)


def common(traits: Iterable[Traits]) -> Traits:
    """What can be relied on wherever a task may run."""
    each = tuple(traits)
    return Traits(
        can_fall_silent=any(item.can_fall_silent for item in each),
        shares_files=all(item.shares_files for item in each),
        inherits_env=all(item.inherits_env for item in each),
        says_when_to_end=any(item.says_when_to_end for item in each),
        replaceable=all(item.replaceable for item in each),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedHost:
    """A host. ``address`` is what the others reach it by, empty until its engine has granted it; ``ports`` a closed
    range, None for any free port.

    ``transport`` names the reach by which programs run there, ``details`` is what that must know, ``way`` says it in
    words; what else differs between kinds of hosts is in ``traits``. ``spare``: tasks go there when
    they must leave another, unless the spec says that they run there.
    """

    name: str
    address: str
    transport: str = "local"
    traits: Traits = HERE
    ports: tuple[int, int] | None = None
    gpus: int = 0
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    way: str = "this machine"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    spare: bool = False


THIS_MACHINE = PlannedHost(name="local", address="127.0.0.1")


def expand_host(host: Host) -> tuple[PlannedHost, ...]:
    """The machines of one entry; its ranges advance together, and one address serves for all if it has no range."""
    names = expand_range(host.name)
    addresses = expand_range(host.address or host.name)
    if len(addresses) != len(names):
        addresses = (addresses * len(names))[: len(names)]
    ports = port_range(host.ports) if host.ports is not None else None
    made = (
        PlannedHost(name=name, address=address, ports=ports, gpus=host.gpus)
        for name, address in zip(names, addresses, strict=True)
    )
    return tuple(made if host.ssh is None else (_by_ssh(each, host.ssh) for each in made))


def _by_ssh(host: PlannedHost, ssh: Ssh) -> PlannedHost:
    given = {key: str(value) for key, value in ssh.model_dump(exclude_none=True).items()}
    details = MappingProxyType({**given, "host": given.get("host", host.address)})
    user = f"{ssh.user}@" if ssh.user is not None else ""
    port = f":{ssh.port}" if ssh.port is not None else ""
    return replace(
        host,
        transport="ssh",
        traits=FAR,
        details=details,
        way=f"ssh {user}{details['host']}{port}",
        connect_timeout_s=ssh.connect_timeout_s or CONNECT_TIMEOUT_S,
    )


def reached_as_one(sites: Iterable[PlannedHost]) -> Iterator[str]:
    """Says which hosts are reached by the same way. They may be one machine with two addresses, but more often one of
    them was copied."""
    seen: dict[tuple[object, ...], str] = {}
    for site in sites:
        target = (site.transport, site.details.get("host", "").lower(), site.details.get("port"))
        other = seen.setdefault(target, site.name)
        if site.details and other != site.name:
            yield f"hosts {other} and {site.name} are reached as one and the same: {site.way}"


# --- which task runs on which host, and with which of its GPUs


def place(counts: Mapping[Role, int], on: Mapping[Role, Sequence[str]]) -> dict[TaskId, str]:
    """The host of each task, in order of task: each role goes round its hosts in turn, from the first one."""
    return {
        TaskId(role, index): host
        for role in ROLES
        for index, host in enumerate(islice(cycle(on[role]), counts.get(role, 0)))
    }


def assign_gpus(hosts: Mapping[TaskId, str], wanted: Mapping[Role, int]) -> dict[TaskId, tuple[int, ...]]:
    """The GPUs of each trainer, none of them given twice: on each host from 0 on, the chief first."""
    taken: Counter[str] = Counter()
    gpus: dict[TaskId, tuple[int, ...]] = {}
    for task, host in hosts.items():
        count = wanted.get(task.role, 0) if task.role in TRAINERS else 0
        if count:
            gpus[task] = tuple(range(taken[host], taken[host] + count))
            taken[host] += count
    return gpus


def tasks_per_host(hosts: Mapping[TaskId, str], tasks: Iterable[TaskId] | None = None) -> Counter[str]:
    """How many tasks each host has."""
    return Counter(hosts[task] for task in (hosts if tasks is None else tasks))
