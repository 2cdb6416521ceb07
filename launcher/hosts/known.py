"""Which engines and reaches there are: the one place that knows. A plan names its engine, a host its reach."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.hosts.agents import Agents
from launcher.hosts.engine import Answers, Engine
from launcher.hosts.reach import Reach, ReachError, ReachOf
from launcher.plan.model import Plan, PlannedHost
from launcher.spec import engines
from launcher.spec.load import to_tree


def reaches_of(plan: Plan, environ: Mapping[str, str]) -> ReachOf:
    """The reach of each host of a plan, made when it is first needed; where there is none, that raises ReachError.
    ``environ``: what runs on this machine starts from."""
    made: dict[str, Reach] = {}

    def reach_of(host: PlannedHost) -> Reach:
        if host.transport not in made:
            made.update(_make(host.transport, plan, environ))
        if host.transport not in made:
            raise ReachError(f"no reach is called {host.transport!r}", advice="see its engine", final=True)
        return made[host.transport]

    return reach_of


def _make(name: str, plan: Plan, environ: Mapping[str, str]) -> Mapping[str, Reach]:
    if name == "local":
        from launcher.hosts.local import LocalReach

        return {name: LocalReach(environ)}
    if name == "ssh":
        from launcher.hosts.ssh.reach import SshReach

        interpreters = dict.fromkeys(planned.python[0] for planned in plan.tasks if planned.python)
        return {name: SshReach(tuple(interpreters))}  # theirs will do for our programs, too
    kind, keys = _engine(plan)
    try:
        return kind.reaches(keys, environ)
    except Exception as error:
        message = f"engine {plan.engine!r} has no reach {name!r}: {type(error).__name__}: {error}"
        raise ReachError(message, final=True) from error


def agents_of(run_id: str, plan: Plan, environ: Mapping[str, str], *, met: bool = False) -> Agents:
    """The agents of a run of the plan. ``met``: it has had agents, and gets no others."""
    return Agents(reaches_of(plan, environ), run_id, plan.policy, alone=len(plan.hosts) == 1, met=met)


def engine_of(plan: Plan, answers: Answers) -> Engine:
    """The engine of a plan."""
    kind, keys = _engine(plan)
    return kind(keys, answers)


def _engine(plan: Plan) -> tuple[type[Engine], object]:
    if plan.engine == engines.LISTED:
        from launcher.hosts.listed import Listed

        return Listed, Listed.keys()
    kind = engines.engine_type(plan.engine)
    assert isinstance(kind, type) and issubclass(kind, Engine), f"{plan.engine} is no Engine"
    return kind, kind.keys.model_validate(to_tree(plan.engine_keys))
