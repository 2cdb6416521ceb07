"""What a drill did, told to the program that runs drills one after the other."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "TFLAUNCH_SOAK_FACTS"


def note(*faults: str) -> None:
    """Faults that came to pass, such as ``kill worker:1``: their first word is their kind."""
    if file := os.environ.get(VARIABLE):
        with Path(file).open("a") as stream:
            stream.writelines(f"{fault}\n" for fault in faults)
