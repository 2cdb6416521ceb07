"""Where the library for this machine is, or why tasks here go without it."""

from __future__ import annotations

import os
from pathlib import Path

MACHINES = ("x86_64", "aarch64")
_LINK = "guard.so"
_SEPARATORS = " :"  # of LD_PRELOAD, which knows no way to write them; ld.so(8)


def name(machine: str) -> str:
    """The name of the library's file for machines of that kind."""
    return f"guard-{machine}.so"


def path() -> str:
    """Where the library for this machine is, or would be."""
    return f"{__file__.rpartition('/')[0]}/{name(os.uname().machine)}"


def needs_link() -> bool:
    """Whether LD_PRELOAD cannot name it where it is."""
    return any(letter in path() for letter in _SEPARATORS)


def loadable(home: Path) -> str:
    """Its path as LD_PRELOAD can name it: through a link in ``home`` if need be."""
    own = path()
    if not needs_link():
        return own
    link = home / _LINK
    link.unlink(missing_ok=True)
    link.symlink_to(own)
    return str(link)


def obstacle() -> str:
    """Why no program here can load it; empty if programs can."""
    try:
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc ")
    except (OSError, ValueError):
        glibc = False
    if not glibc:
        return "its C library is not glibc"
    try:
        without_programs = os.statvfs(path()).f_flag & os.ST_NOEXEC
    except OSError:
        known = os.uname().machine in MACHINES
        return "the library was not built; make guard" if known else f"there is none for {os.uname().machine}"
    return f"{path()} lies on a file system from which nothing can be loaded (noexec)" if without_programs else ""
