"""The checks: which rule makes findings of the facts, in the order in which they are shown. Pure.

A rule gives at least one finding for every host that it can judge. A host that could not be asked is judged by ``ssh``
alone, an unanswered question by whichever check it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from launcher.doctor import host_rules, program_rules, shared_rules
from launcher.doctor.facts import HostFacts
from launcher.doctor.findings import Finding, Level
from launcher.doctor.wanted import Wanted

Verdicts = Iterator[tuple[Level, str, str, str]]  # level, value, message, advice
Rule = Callable[[str, Wanted, Mapping[str, HostFacts]], Verdicts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the table. ``asked``: the question whose answer it judges, "" if it judges the connection, or what is
    known here; ``of_all``: of hosts that cannot be reached, too."""

    name: str
    asked: str
    rule: Rule
    of_all: bool = False


CHECKS: tuple[Check, ...] = (
    Check(name="reachable", asked="", rule=host_rules.reachable, of_all=True),
    Check(name="requirements", asked="", rule=program_rules.requirements, of_all=True),
    Check(name="sessions", asked="", rule=host_rules.sessions),
    Check(name="python", asked="python", rule=shared_rules.python_versions),
    Check(name="tensorflow", asked="python", rule=shared_rules.tensorflow_versions),
    Check(name="import", asked="python", rule=program_rules.imports),
    Check(name="command", asked="python", rule=program_rules.command),
    Check(name="ports", asked="listen", rule=host_rules.ports),
    Check(name="guard", asked="system", rule=host_rules.guard),
    Check(name="network", asked="connect", rule=shared_rules.network),
    Check(name="model_dir", asked="write", rule=shared_rules.model_dir),
    Check(name="run folder", asked="read", rule=shared_rules.run_folder),
    Check(name="clock", asked="time", rule=shared_rules.clocks),
    Check(name="disk", asked="system", rule=host_rules.disk),
    Check(name="memory", asked="system", rule=host_rules.memory),
    Check(name="cores", asked="system", rule=host_rules.cores),
    Check(name="GPUs", asked="system", rule=host_rules.gpus),
    Check(name="open files", asked="system", rule=host_rules.open_files),
    Check(name="proxies", asked="system", rule=host_rules.proxies),
    Check(name="TF_CONFIG", asked="system", rule=host_rules.tf_config),
    Check(name="old runs", asked="system", rule=host_rules.old_runs),
)


def judge(wanted: Wanted, facts: Mapping[str, HostFacts]) -> tuple[Finding, ...]:
    """Every finding, by check and then by host."""
    return tuple(finding for check in CHECKS for host in wanted.needs for finding in _of(check, host, wanted, facts))


def _of(check: Check, host: str, wanted: Wanted, facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    known = facts[host]
    if known.trouble and not check.of_all:
        return
    if check.asked in known.unanswered:
        message = f"no answer about it: {known.unanswered[check.asked]}"
        advice = "see what hangs there: a file system, a name server, a machine that is too busy?"
        yield Finding(
            check=check.name, host=host, level=Level.FAILED, value="no answer", message=message, advice=advice
        )
        return
    for level, value, message, advice in check.rule(host, wanted, facts):
        yield Finding(check=check.name, host=host, level=level, value=value, message=message, advice=advice)
