"""Which reaches there are: the one place that knows. A host of the plan names its own (``transport``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launcher.hosts.agents import Agents
from launcher.hosts.reach import Reach, ReachOf
from launcher.plan.model import Plan, PlannedHost


def reaches(environ: Mapping[str, str], pythons: Sequence[str] = ()) -> ReachOf:
    """The reach of each host; each is made when it is first needed. ``environ``: what runs on this machine starts
    from; ``pythons``: interpreters to try on other hosts besides those of their PATH."""
    made: dict[str, Reach] = {}

    def reach_of(host: PlannedHost) -> Reach:
        if host.transport not in made:
            made[host.transport] = _make(host.transport, environ, pythons)
        return made[host.transport]

    return reach_of


def _make(name: str, environ: Mapping[str, str], pythons: Sequence[str]) -> Reach:
    if name == "local":
        from launcher.hosts.local import LocalReach

        return LocalReach(environ)
    from launcher.hosts.ssh.reach import SshReach

    return SshReach(pythons)


def reaches_of(plan: Plan, environ: Mapping[str, str]) -> ReachOf:
    """The same for a plan, whose interpreters will do for our programs, too."""
    return reaches(environ, tuple(dict.fromkeys(planned.python[0] for planned in plan.tasks if planned.python)))


def agents_of(run_id: str, plan: Plan, environ: Mapping[str, str], *, met: bool = False) -> Agents:
    """The agents of a run of the plan. ``met``: it has had agents, and gets no others."""
    return Agents(reaches_of(plan, environ), run_id, plan.policy, alone=len(plan.hosts) == 1, met=met)
