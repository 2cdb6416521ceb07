"""The way to each host of a plan: the one place that knows which ways there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from launcher.hosts.transport import Transport
from launcher.plan.model import Plan, PlannedHost


def transport_table(
    run_id: str, plan: Plan, environ: Mapping[str, str], *, met: bool = False
) -> Callable[[PlannedHost], Transport]:
    """The way to each host of the plan: by its ``transport``. ``met``: the run has had agents, and gets no others."""
    from launcher.hosts.local import LocalTransport

    lease_s, grace_s = plan.policy.lease_s, plan.policy.grace_s
    table: dict[str, Transport] = {
        "local": LocalTransport(run=run_id, lease_s=lease_s, grace_s=grace_s, environ=environ, met=met)
    }
    if any(host.transport == "ssh" for host in plan.hosts):
        from launcher.hosts.ssh.agents import SshTransport

        interpreters = dict.fromkeys(planned.python[0] for planned in plan.tasks if planned.python)
        table["ssh"] = SshTransport(
            run=run_id,
            lease_s=lease_s,
            grace_s=grace_s,
            ps_wait_s=grace_s if len(plan.hosts) > 1 else 0.0,
            pythons=tuple(interpreters),
            met=met,
        )
    return lambda host: table[host.transport]
