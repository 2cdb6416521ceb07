"""Small texts of a spec and what they mean: host ranges, port ranges, names."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable

MAX_RANGE = 20_000
MAX_ARGUMENT_BYTES = 130_000  # Linux takes 131,072 with the name of a variable (MAX_ARG_STRLEN, execve(2))

_RANGE = re.compile(r"\[(\d{1,9})-(\d{1,9})\]")
_PORTS = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})")
_NUMBERS = re.compile(r"[0-9.]+")
_REMOTE_FOLDER = re.compile(r"[a-z][a-z0-9+.-]*://.+", re.IGNORECASE)
_RESERVED_ENV = re.compile(
    r"TFLAUNCH_(TASK|ATTEMPT|RUN|TUNE|TASK_SOCKET|TF_CONFIG_[0-9]+|DEFAULT_MODEL_DIR|PROFILE_STEPS|LOG_LEVEL)"
)


def expand_range(text: str) -> tuple[str, ...]:
    """``node[08-10]`` as ``node08``, ``node09``, ``node10``; a text without a range as itself.

    Raises ValueError for a range that runs backwards, is too long, or is not alone.
    """
    matches = list(_RANGE.finditer(text))
    if not matches:
        if "[" in text or "]" in text:
            raise ValueError(f"has no range that can be read in {text[:80]!r}; write one as node[01-16]")
        return (text,)
    if len(matches) > 1:
        raise ValueError("has two ranges; a name takes one, as in node[01-16]")
    low, high = matches[0][1], matches[0][2]
    count = int(high) - int(low) + 1
    if count < 1:
        raise ValueError(f"has a range that runs backwards: [{low}-{high}]")
    if count > MAX_RANGE:
        raise ValueError(f"has a range of {count} hosts; at most {MAX_RANGE} are possible")
    head, tail = text[: matches[0].start()], text[matches[0].end() :]
    return tuple(f"{head}{number:0{len(low)}d}{tail}" for number in range(int(low), int(high) + 1))


def host_name(text: str) -> str:
    """Checks the name of one host or of a range of them."""
    if not all(map(_HOST_NAME.fullmatch, _ends(expand_range(text)))):
        raise ValueError("may have letters, digits, '.', '-' and '_' only, and starts with a letter or digit")
    return text


def address(text: str) -> str:
    """Checks the address of one host or of a range of them: a name or an IP address, without a port."""
    for one in _ends(expand_range(text)):
        if not _ADDRESS.fullmatch(one) or ".." in one:
            raise ValueError(_address_advice(one))
        if _NUMBERS.fullmatch(one) and not _is_of_one_host(one):
            raise ValueError(f"is no IP address of a host: {one}")
    return text


def _is_of_one_host(text: str) -> bool:
    try:
        known = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (known.is_unspecified or known.is_multicast or known == ipaddress.IPv4Address("255.255.255.255"))


def _ends(texts: tuple[str, ...]) -> tuple[str, str]:
    return texts[0], texts[-1]


def _address_advice(text: str) -> str:
    head, colon, port = text.rpartition(":")
    if colon and port.isdigit() and ":" not in head:
        return f"names a port; write the address alone ({head!r}), tflaunch finds the ports"
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return "is neither a host name nor an IP address"
    return "is an IPv6 address, which TensorFlow's cluster addresses cannot hold; use a host name"


def is_loopback(text: str) -> bool:
    """Whether the address can be reached from its own host only."""
    return text == "localhost" or text.startswith("127.")


def port_range(text: str) -> tuple[int, int]:
    """``20000-20999`` as a closed range; raises ValueError for what is no range of ports."""
    match = _PORTS.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a range of ports, such as 20000-20999")
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high:
        raise ValueError(f"has a range that runs backwards: {low}-{high}")
    if low < 1 or high > 65535:
        raise ValueError("must lie between 1 and 65535")
    return low, high


def checked_ports(text: str) -> str:
    """Checks a range of ports and keeps its text."""
    port_range(text)
    return text


def env_name(text: str) -> str:
    """Checks the name of a variable that a user may set for his tasks."""
    if text == "TF_CONFIG":
        raise ValueError("TF_CONFIG is made by tflaunch, for each task its own; remove it")
    if text == "TF_GRPC_REUSE_PORT" or _RESERVED_ENV.fullmatch(text):
        raise ValueError(f"{text} belongs to tflaunch; remove it")
    if not _ENV_NAME.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is no name of a variable: letters, digits and '_' only, and no digit at the start"
        )
    return text


def run_name(text: str) -> str:
    """Checks the name of a run, which becomes part of a folder's name."""
    if not _RUN_NAME.fullmatch(text):
        raise ValueError("must be made of letters, digits, '.', '-' and '_', 80 at most, the first a letter or digit")
    return text


def argument(text: str) -> str:
    """Checks that Linux can hand the text to a process."""
    if len(text.encode()) > MAX_ARGUMENT_BYTES:
        raise ValueError(f"is longer than {MAX_ARGUMENT_BYTES:,} bytes, about the most that Linux hands to a process")
    return text


def module_name(text: str) -> str:
    """Checks the name of a module to import."""
    if not all(part.isidentifier() for part in text.split(".")):
        raise ValueError(f"is no name of a Python module: {text[:80]!r}")
    return text


def is_shareable(folder: str) -> bool:
    """Whether several hosts can mean the same folder by this path: absolute, or on a remote file system."""
    return folder.startswith("/") or _REMOTE_FOLDER.match(folder) is not None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'worker'?`` where one is near enough."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
