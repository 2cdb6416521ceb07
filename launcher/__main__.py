"""``tflaunch``, and ``python -m launcher``."""

from __future__ import annotations

import sys


def main() -> None:
    """Ctrl-C ends in silence also while modules are being imported."""
    try:
        from launcher.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    command_line.main()


if __name__ == "__main__":
    main()
