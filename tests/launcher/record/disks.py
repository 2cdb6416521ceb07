"""A small disk of its own, to be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    path: Path

    @property
    def _filler(self) -> Path:
        return self.path / ".filler"

    def fill(self) -> None:
        """Takes all the space that is left."""
        fd = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(fd, b"x" * 4096)
        except OSError:
            pass
        finally:
            os.close(fd)

    def free(self) -> None:
        """Gives it back."""
        self._filler.unlink()


@contextmanager
def full_disk(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """A file system in memory, mounted in ``folder`` for as long; needs root."""
    path = folder / "disk"
    path.mkdir()
    options = f"size={size_bytes},mode=0700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tflaunch-test", path], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
