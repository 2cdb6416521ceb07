"""``python -I -S launcher/agent/__main__.py (relay|keeper) OPTIONS`` and ``... sweep RUN``.

Isolated and without ``site``, so that it starts in milliseconds and nothing of the user's Python set-up reaches it.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the program that the first argument names; imports nothing else."""
    # pathlib would cost the relay a third of its start
    sys.path.insert(0, __file__.rpartition("/launcher/agent/")[0] or ".")
    program, argument = sys.argv[1], sys.argv[2]
    if program == "relay":
        from launcher.agent import relay

        return relay.main(argument)
    if program == "keeper":
        from launcher.agent import keeper

        return keeper.main(argument)
    from launcher.agent import sweep

    return 0 if sweep.sweep(argument) else 1


if __name__ == "__main__":
    sys.exit(main())
