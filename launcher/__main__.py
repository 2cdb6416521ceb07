"""``tflaunch``, and ``python -m launcher``."""

from __future__ import annotations

import sys


def main() -> None:
    """Ctrl-C ends in silence also while modules are being imported."""
    try:
        from launcher import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
