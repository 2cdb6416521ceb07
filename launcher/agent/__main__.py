"""``python -I -S launcher/agent/__main__.py (relay|hold|keeper|sweep|doctor|deploy) OPTIONS``.

Isolated and without ``site``, so that it starts in milliseconds and nothing of the user's Python set-up reaches it.
"""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Runs the program that the first argument names; imports nothing else."""
    # pathlib would cost the relay a third of its start
    sys.path.insert(0, __file__.rpartition("/launcher/agent/")[0] or ".")
    return run(sys.argv[1], sys.argv[2])


def run(program: str, argument: str) -> int:
    """Runs one of the programs, with its options as JSON; returns its exit code."""
    if program == "relay":
        gc.disable()  # what is imported stays: to look for garbage among it would be a tenth of all that a start costs
        from launcher.agent.host import relay

        return relay.main(argument)
    if program == "hold":
        from launcher.agent.host import hold

        return hold.main(argument)
    if program == "keeper":
        from launcher.agent.host import keeper

        return keeper.main(argument)
    if program == "doctor":
        from launcher.agent.doctor import probe

        probe.main(argument)
    if program == "deploy":
        from launcher.agent.deploy import program as deploy

        return deploy.main(argument)
    from launcher.agent.host import sweep

    return sweep.main(argument)


if __name__ == "__main__":
    sys.exit(main())
