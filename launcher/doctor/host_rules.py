"""What a host must be and have by itself. Each rule gives (level, value, message, advice). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from launcher.doctor.facts import Disk, HostFacts, System
from launcher.doctor.findings import Level
from launcher.doctor.wanted import Need, Wanted

Verdict = tuple[Level, str, str, str]
Facts = Mapping[str, HostFacts]

MOST_SESSIONS = 10  # sshd's own default of MaxSessions
ENOUGH_SESSIONS = 2
TASK_MIB = 300  # what a small task takes: five of them 1,435 MiB
PLENTY_MIB = 1024
BARELY_MIB = 16
ENOUGH_FILES = 1024
FILES_OF_A_TASK = 64  # its own, besides connections
CONNECTIONS_OF_A_PEER = 4


def ok(value: str) -> Verdict:
    """Nothing to do; ``value`` is shown."""
    return (Level.OK, value, "", "")


# --- the way there


def reachable(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether our program runs there."""
    known = facts[host]
    if known.trouble:
        yield Level.FAILED, "no", known.trouble, known.advice
    elif not wanted.needs[host].host.traits.can_fall_silent:
        yield ok("local")
    else:
        yield ok(f"{known.connect_s:.1f} s")


def sessions(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """sshd's MaxSessions: how many programs one connection may have."""
    found = facts[host].sessions
    if found is None:
        yield Level.SKIPPED, "", "", ""
    elif found < ENOUGH_SESSIONS:
        allowed = count(found, "session")
        message = f"sshd allows {allowed} for each connection (MaxSessions): a run needs one, and nothing else fits"
        yield Level.WARNING, str(found), message, "set MaxSessions 10 in sshd_config there, and reload sshd"
    else:
        yield ok(str(found) if found < MOST_SESSIONS else f"{found} or more")


# --- ports


def ports(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether there is a free port for each task."""
    found, need = facts[host].listening, wanted.needs[host]
    if found is None or not need.tasks:
        yield Level.SKIPPED, "", "", ""
    elif found.free < len(need.tasks):
        within = f" in {need.host.ports[0]}-{need.host.ports[1]}" if need.host.ports else f" ({found.problem})"
        message = f"{count(found.free, 'free port')}{within} for {count(len(need.tasks), 'task')}"
        if found.foreign:
            message += f"; process {found.foreign['pid']} ({str(found.foreign.get('command', ''))[:80]}) has one"
        yield Level.FAILED, f"{found.free} free", message, "give the host more: hosts[].ports"
    else:
        yield ok("free" if need.host.ports is None else f"{need.host.ports[0]}-{need.host.ports[1]}")


# --- what the host has


def _system(facts: HostFacts) -> System | None:
    return facts.system


def disk(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Room for the output of tasks and for checkpoints."""
    system = facts[host].system
    if system is None:
        return
    bad = [verdict for found in system.disks if (verdict := _disk(found, wanted))]
    sizes = [found.free_mib for found in system.disks if found.free_mib is not None]
    yield from bad or [ok(mib(min(sizes)) if sizes else "")]


def _disk(found: Disk, wanted: Wanted) -> Verdict | None:
    use = "checkpoints" if found.place == wanted.model_dir else "the output of tasks"
    if found.read_only:
        return Level.FAILED, "read-only", f"{found.place} is read-only, and {use} go there", "mount it for writing"
    if found.free_files is not None and found.free_files < 1000:
        message = f"{found.place}: {found.free_files} files more, and its disk has no room for names"
        return Level.FAILED, "no files", message, "remove files there"
    if found.free_mib is None or found.free_mib >= PLENTY_MIB:
        return None
    level = Level.FAILED if found.free_mib < BARELY_MIB else Level.WARNING
    return level, mib(found.free_mib), f"{found.place}: {mib(found.free_mib)} left for {use}", "make room there"


def memory(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the tasks may fit."""
    system, tasks = facts[host].system, len(wanted.needs[host].tasks)
    if system is None:
        return
    if system.available_mib < tasks * TASK_MIB:
        message = f"{mib(system.available_mib)} available for {count(tasks, 'task')}; a small one takes {TASK_MIB} MiB"
        yield Level.WARNING, mib(system.available_mib), message, "place fewer tasks there, or end what else runs there"
    else:
        yield ok(mib(system.available_mib))


def cores(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether trainers have a core each."""
    system, trainers = facts[host].system, wanted.needs[host].trainers
    if system is None:
        return
    if trainers > system.cores:
        message = f"{trainers} trainers share {system.cores:g} core{'' if system.cores == 1 else 's'}"
        yield (
            Level.WARNING,
            f"{system.cores:g}",
            message,
            "place fewer workers there, unless they wait for input mostly",
        )
    else:
        yield ok(f"{system.cores:g}")


def gpus(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the GPUs that the spec promises are there, and TensorFlow sees them."""
    system, promised = facts[host].system, wanted.needs[host].host.gpus
    if system is None or system.gpus is None or not promised:
        yield Level.SKIPPED, "", "", ""
        return
    seen = [found.gpus for found in facts[host].pythons if found.gpus is not None]
    if len(system.gpus) < promised:
        message = f"it has {len(system.gpus)} of the {promised} GPUs that the spec gives it"
        yield Level.FAILED, str(len(system.gpus)), message, "correct hosts[].gpus, or look at nvidia-smi there"
    elif seen and min(seen) < promised:
        message = f"TensorFlow sees {min(seen)} of its {len(system.gpus)} GPUs"
        yield Level.FAILED, f"{min(seen)} seen", message, "install tensorflow[and-cuda], and a driver that fits it"
    else:
        yield ok(str(len(system.gpus)))


def open_files(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """The limits of open files: the tasks get the soft one, the agent takes the hard one."""
    system = facts[host].system
    if system is None:
        return
    soft, _ = system.open_files
    peers = sum(len(need.tasks) for need in wanted.needs.values())
    least = FILES_OF_A_TASK + CONNECTIONS_OF_A_PEER * peers
    advice = "raise nofile in /etc/security/limits.conf there (LimitNOFILE= of the ssh service)"
    if soft is not None and soft < least:
        message = f"a task may open {soft} files; with {peers} tasks in the cluster it may need {least}"
        yield Level.FAILED, str(soft), message, advice
    elif soft is not None and soft < ENOUGH_FILES:
        message = f"a task may open {soft} files: few, when data is read from many"
        yield Level.WARNING, str(soft), message, advice
    else:
        yield ok("no limit" if soft is None else str(soft))


def guard(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the tasks' ports answer the run alone, and where they listen."""
    system = facts[host].system
    if system is None:
        return
    if not wanted.guarded:
        message = "port-guard is switched off: whoever reaches the ports of a run can run code as you"
        yield Level.WARNING, "off", message, "switch it on again (tune)"
    elif system.open_ports:
        message = f"whoever reaches the ports of a run can run code as you: {system.open_ports}"
        yield Level.WARNING, "no", message, "let a firewall pass the ports among the hosts of the cluster only"
    elif not system.listens_at:
        address = wanted.needs[host].host.address
        message = f"{address} is no address of its own (NAT?): its ports listen on all, and answer who has the key"
        yield Level.WARNING, "any address", message, "write an address of its own, if the others reach it there"
    else:
        yield ok(system.listens_at)


# --- what is in the environment, and what is left there


def proxies(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """gRPC goes through a proxy if the environment names one: then tasks do not reach each other."""
    system, need = facts[host].system, wanted.needs[host]
    if system is None:
        return
    set_by_spec = {name: value for found in need.interpreters for name, value in found.env.items()}
    named = [name for name in system.proxies if set_by_spec.get(name) != ""]
    spared = set_by_spec.get("no_grpc_proxy") or set_by_spec.get("no_proxy") or system.no_proxy
    through = [peer for peer, other in wanted.needs.items() if not is_spared(other.host.address, spared)]
    if named and through and not _talks_to_nobody(need):
        addresses = ",".join(other.host.address for other in wanted.needs.values())
        message = f"{', '.join(named)} is set there, and TensorFlow would reach {_names(through)} by that proxy"
        yield Level.FAILED, named[0], message, f"set in the spec: env: {{no_proxy: {addresses!r}}}"
    else:
        yield ok("none" if not named else "spared")


def _talks_to_nobody(need: Need) -> bool:
    return all(task.task.role == "evaluator" for task in need.tasks)


def is_spared(address: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` covers the address: an end of it, or a network (gRPC, http_proxy_mapper.cc)."""
    for entry in filter(None, (part.strip() for part in no_proxy.split(","))):
        if entry == "*" or address.endswith(entry):
            return True
        try:
            if "/" in entry and ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def tf_config(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """A TF_CONFIG that somebody has left in the environment."""
    system = facts[host].system
    if system is None:
        return
    if system.tf_config:
        message = "TF_CONFIG is set in the environment there; tflaunch gives each task its own instead"
        yield Level.WARNING, "set", message, "take it out of the start-up files there (.bashrc, /etc/environment)"
    else:
        yield ok("not set")


def old_runs(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Runs of ours that are still alive."""
    system = facts[host].system
    if system is None:
        return
    for found in system.runs:
        run = found.run.rpartition(".")[0] or found.run
        alive = f"{count(found.processes, 'process', 'processes')}, the oldest pid {found.pid}, since {found.since}"
        advice = f"if it is not wanted: tflaunch stop {run}, where it was started"
        yield Level.WARNING, f"pid {found.pid}", f"run {run} is alive there: {alive}", advice
    if not system.runs:
        yield ok("none")


def count(number: int, one: str, more: str = "") -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def mib(size_mib: int) -> str:
    """A size for people."""
    if size_mib < 10 * 1024:
        return f"{size_mib} MiB" if size_mib < 1024 else f"{size_mib / 1024:.1f} GiB"
    return f"{size_mib / 1024:,.0f} GiB"


def _names(hosts: list[str]) -> str:
    return ", ".join(hosts) if len(hosts) <= 4 else f"{', '.join(hosts[:3])} and {len(hosts) - 3} more"
