"""``python -m jobs.esmm``."""

from __future__ import annotations

import sys

from jobs.esmm.cli import main

if __name__ == "__main__":
    sys.exit(main())
