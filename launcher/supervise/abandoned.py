"""Ends what is left of a run whose supervisor is gone.

Each agent is asked to do what it would do at the end of its lease. It refuses while a supervisor is connected: that one
is gone is believed by whoever would know.
"""

from __future__ import annotations

import asyncio

from launcher.hosts.agents import Agents
from launcher.hosts.reach import ReachError
from launcher.plan.model import Plan, PlannedHost
from launcher.wire import protocol

_PATIENCE_S = 30.0


def end(plan: Plan, run_id: str, agents: Agents, *, now: bool) -> dict[str, str]:
    """Asks the agent of every host to end what is left there, and waits for it; gives what keeps it from that, by host.
    Blocks."""
    limit_s = plan.policy.grace_s * 2 + _PATIENCE_S

    async def ask_all() -> list[str]:
        asked = (_ask(host, agents, run_id, now=now, limit_s=limit_s) for host in plan.hosts)
        return await asyncio.gather(*asked)

    troubles = zip(plan.hosts, asyncio.run(ask_all()), strict=True)
    return {host.name: trouble for host, trouble in troubles if trouble}


async def _ask(host: PlannedHost, agents: Agents, run_id: str, *, now: bool, limit_s: float) -> str:
    try:
        reader, writer = await agents.open(host)
        writer.write(protocol.encode(protocol.Abandoned(run=run_id, now=now)))
        while line := await asyncio.wait_for(reader.readline(), limit_s):
            message = protocol.decode(line)
            if isinstance(message, protocol.Refused):
                return message.message
    except ReachError as error:
        return "" if error.gone else str(error)
    except asyncio.TimeoutError:
        return f"its agent has not ended within {limit_s:g} s"
    except (OSError, ValueError, protocol.ProtocolError) as error:
        return str(error)
    finally:
        await agents.let_go(host)
    return ""
