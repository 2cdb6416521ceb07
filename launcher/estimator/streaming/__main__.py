"""``python -m launcher.estimator.streaming``."""

from __future__ import annotations

import sys

from launcher.estimator.streaming.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
