"""What hosts must have in common, and whether they reach each other. Each rule gives (level, value, message, advice).
Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from launcher.doctor.facts import HostFacts, TaskPython
from launcher.doctor.findings import Level
from launcher.doctor.wanted import Wanted

Verdict = tuple[Level, str, str, str]
Facts = Mapping[str, HostFacts]

SKEW_S = 1.0  # from here on logs and file times of hosts contradict each other
LARGE_SKEW_S = 300.0  # from here on Kerberos and many signed requests are refused
_DEPLOY = "tflaunch deploy SPEC"


def _skipped() -> Verdict:
    return (Level.SKIPPED, "", "", "")


# --- versions


def python_versions(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Python X.Y must be the same everywhere; a difference behind that is told."""
    yield from _equal(host, wanted, facts, "Python", lambda found: found.version, _minor)


def tensorflow_versions(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """TensorFlow must be the same everywhere: graphs and the protocol between tasks are not kept stable."""
    yield from _equal(host, wanted, facts, "TensorFlow", lambda found: found.tensorflow, str)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _equal(
    host: str,
    wanted: Wanted,
    facts: Facts,
    what: str,
    version_of: Callable[[TaskPython], str | None],
    must_equal: Callable[[str], str],
) -> Iterator[Verdict]:
    own = list(dict.fromkeys(version for found in facts[host].pythons if (version := version_of(found))))
    usual = _usual(wanted, facts, version_of)
    if not own or usual is None:
        yield _skipped()
        return
    for version in own:
        advice = f"the same versions everywhere: {_DEPLOY}" if wanted.deploys else f"install {what} {usual} there"
        if must_equal(version) != must_equal(usual):
            yield Level.FAILED, version, f"{what} {version}, where {_others(usual, wanted, facts, version_of)}", advice
        elif version != usual:
            yield Level.WARNING, version, f"{what} {version}, where {_others(usual, wanted, facts, version_of)}", advice
        else:
            yield Level.OK, version, "", ""


def _usual(wanted: Wanted, facts: Facts, version_of: Callable[[TaskPython], str | None]) -> str | None:
    """The version that most hosts have; among equals the one of the chief's host."""
    ordered = [facts[wanted.chief], *(facts[host] for host in wanted.needs if host != wanted.chief)]
    counted = Counter(version for known in ordered for found in known.pythons if (version := version_of(found)))
    return counted.most_common(1)[0][0] if counted else None


def _others(usual: str, wanted: Wanted, facts: Facts, version_of: Callable[[TaskPython], str | None]) -> str:
    having = [host for host in wanted.needs if any(version_of(found) == usual for found in facts[host].pythons)]
    return f"{names(having)} {'has' if len(having) == 1 else 'have'} {usual}"


# --- the network between them

_WHY = {
    "timeout": (
        "no answer: a firewall drops it, or the address is another machine's",
        "let {near} reach {port} of {far}",
    ),
    "refused": (
        "refused, though somebody listens there",
        "is {address} its address (hosts[].address)? Is a firewall between?",
    ),
    "unreachable": ("there is no way to {address}", "correct hosts[].address, or the routes of {near}"),
    "forbidden": ("{near} forbids it", "a firewall on {near} must let it out"),
    "no such name": ("{near} cannot resolve {address}", "use an IP address (hosts[].address), or /etc/hosts there"),
    "somebody else": ("another machine or program answers there", "{address} is not {far}: correct hosts[].address"),
}


def network(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether this host reaches the ports of the others, and its own, at their cluster addresses."""
    reached = facts[host].reached
    if reached is None or (not reached and len(wanted.needs) > 1):
        yield _skipped()
        return
    good = {found.host for found in reached if found.how == "ok"}
    bad: dict[tuple[str, str], list[int]] = {}
    for found in reached:
        if found.how != "ok":
            bad.setdefault((found.host, found.how), []).append(found.port)
    for (far, how), ports in bad.items():
        yield _unreached(host, far, how, ports, wanted, partly=far in good)
    if not bad:
        others = len(good - {host})
        yield Level.OK, f"{others} of {others}" if others else "itself", "", ""


def _unreached(near: str, far: str, how: str, ports: list[int], wanted: Wanted, *, partly: bool) -> Verdict:
    need = wanted.needs[far].host
    allowed = f"ports {need.ports[0]}-{need.ports[1]}" if need.ports else "every port"
    values = {"near": near, "far": far, "address": need.address, "port": allowed}
    why, advice = _WHY.get(how, (how, "look at the network between them"))
    where = f"{need.address}:{','.join(map(str, ports))}"
    message = f"does not reach {far} at {where} ({'some ports only; ' if partly else ''}{why.format(**values)})"
    if wanted.talk(near, far):
        return Level.FAILED, f"not {far}", message, advice.format(**values)
    message += "; as the tasks are placed now, they need not"
    return Level.WARNING, f"not {far}", message, advice.format(**values)


# --- the folder of the checkpoints


def model_dir(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the model_dir can be written, is the same folder everywhere, and is free."""
    found, need = facts[host].folder, wanted.needs[host]
    if need.model_dir is None or found is None:
        yield Level.SKIPPED, "", "", ""
        return
    if found.problem:
        advice = (
            "make room there" if "space" in found.problem else "let this user write there, or choose another model_dir"
        )
        yield Level.FAILED, "no writing", f"cannot write to {found.path}: {found.problem}", advice
        return
    writers = [other for other, known in facts.items() if known.folder is not None and not known.folder.problem]
    unseen = [other for other in writers if found.words.get(other) != other]
    advice = "put model_dir on a file system that all of them mount, at the same path"
    if unseen and (host != wanted.chief or wanted.chief in unseen):
        shown = [wanted.chief] if wanted.chief in unseen else unseen
        message = f"{found.path} is another folder than that of {names(shown)}: neither reads what the other writes"
        yield Level.FAILED, "not shared", message, advice
    elif found.holder and host == wanted.chief:
        who = "run {} (host {}, pid {}, since {})".format(
            *(found.holder.get(key, "?") for key in ("run", "host", "pid", "since"))
        )
        yield Level.FAILED, "in use", f"{found.path} is in use by {who}", "stop that run, or choose another model_dir"
    else:
        yield Level.OK, "shared" if len(writers) > 1 else "writable", "", ""


def run_folder(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """Whether the folder of runs is the one that it is here: who looks at a run is not where it is carried out."""
    sees = facts[host].sees_runs
    if sees is None:
        yield _skipped()
    elif sees:
        yield Level.OK, "shared", "", ""
    else:
        message = f"{wanted.run_dirs} is not there, or is another folder than here"
        yield Level.FAILED, "not shared", message, "start tflaunch in a folder that all nodes and this machine share"


# --- clocks


def clocks(host: str, wanted: Wanted, facts: Facts) -> Iterator[Verdict]:
    """How far the host's clock is off, as most others have it; this machine's counts as one."""
    clock = facts[host].clock
    if clock is None:
        yield _skipped()
        return
    usual = statistics.median([0.0, *(known.clock.ahead_s for known in facts.values() if known.clock is not None)])
    off_s = clock.ahead_s - usual
    sure_s = max(0.0, abs(off_s) - clock.error_s)
    if sure_s < SKEW_S:
        yield Level.OK, f"{off_s:+.1f} s" if abs(off_s) >= 0.05 else "0.0 s", "", ""
        return
    side = "ahead of" if off_s > 0 else "behind"
    message = f"its clock is {abs(off_s):,.1f} s {side} the others"
    level = Level.FAILED if sure_s >= LARGE_SKEW_S else Level.WARNING
    yield level, f"{off_s:+,.0f} s", message, "let a time service set it (chrony, systemd-timesyncd)"


def names(hosts: list[str]) -> str:
    """Some names, not all of many."""
    return ", ".join(hosts) if len(hosts) <= 4 else f"{', '.join(hosts[:3])} and {len(hosts) - 3} more"
