"""What somebody may say who means harm or is broken: whole conversations, and how many of them.

Hypothesis gives the seeds, and shows the one that breaks something. The rest is made here, which is a hundred times as
quick as to have it draw each value.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import launcher.record.events
import launcher.supervise.control
from launcher.wire import messages

assert launcher.record.events and launcher.supervise.control  # their messages share the form

MOST_GROWTH_MIB = 50
LINES_EACH = 50
# How many conversations: 1,000 messages and 100,000 bytes in the usual tests, a hundred times as many in the long ones.
_LONG = (pytest.mark.soak, pytest.mark.timeout(3600))
EXAMPLES = [pytest.param(20, id="few"), pytest.param(2000, id="many", marks=_LONG)]
QUIET = settings(database=None, suppress_health_check=list(HealthCheck), deadline=None)

SEEDS = st.integers(0, 2**64)
_TEXTS = (
    "worker:1",
    "worker:0",
    "chief:0",
    "ps:0",
    "",
    "worker:-1",
    "chief:99999999",
    "../x",
    "\ud800",
    "run",
    "start",
)
_TEXTS += ("/etc/passwd", "\x1b[2J\x07", "é漢🙂", "x" * 5000, "true", "0")
_INTS = (0, 1, 2, -1, 80, 4000, 65536, 99_999_999, 2**31, 2**63, 10**15, 10**30)
_FLOATS = (0.0, -1.0, 0.5, 1e308, float("inf"), float("nan"))
_NOISE = (
    b"\n",
    b"[" * 5000 + b"\n",
    b'{"kind":"event"}\n',
    b"null\n",
    b"\xff\xfe\n",
    b'{"kind":' + b"9" * 5000 + b"}\n",
)


_REFUSED = '{"kind":"refused","command":"prove","message":"%s","foreign":{"a":%s}}\n'
_DEEP = "[" * 400 + "]" * 400
_HALF = messages.MAX_VALUES // 2 - 10


def _filled(unit: str, count: int) -> str:
    return "[" + ",".join([unit] * count) + "]"


# Lines as long as any that is taken, of what costs most memory to read: values without number, or as many as are
# allowed and a text of characters that take four bytes each.
HEAVY = {
    "lists": _REFUSED % ("", _filled("[]", messages.MAX_EVENT_BYTES // 3 - 100)),
    "deep lists": _REFUSED % ("", _filled(_DEEP, messages.MAX_EVENT_BYTES // 801 - 1)),
    "dicts": _REFUSED % ("🙂" + "x" * (messages.MAX_EVENT_BYTES - 7 * _HALF - 200), _filled('{"":1}', _HALF)),
    "unknown": '{"kind":"🙂%s"}\n' % ("\x7f" * (messages.MAX_EVENT_BYTES - 100)),
}


class Speaker:
    """Somebody who says what comes to his mind."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def lines(self, of: Callable[[Speaker], Any], count: int = LINES_EACH) -> list[bytes]:
        """A conversation: messages as lines, with some among them that are none."""
        return [
            self._noise() if self.random.random() < 0.2 else json.dumps(of(self)).encode() + b"\n" for _ in range(count)
        ]

    def _noise(self) -> bytes:
        chosen = self.random.choice(_NOISE)
        return chosen if self.random.random() < 0.3 else self.random.randbytes(self.random.randrange(1000))

    def message(self, *kinds: str, depth: int = 1) -> dict[str, Any]:
        """A message, most of its fields of the right type and of values that matter."""
        kind = self.random.choice(kinds or sorted(messages._KINDS))
        fields = messages._KINDS[kind].fields
        given = {name: self._field(written, depth) for name, written in fields.items() if self.random.random() < 0.95}
        return {"kind": kind, **given}

    def _field(self, written: str, depth: int) -> Any:
        if written == "Message" and depth:
            return self.message(depth=depth - 1)
        if self.random.random() < 0.1:
            return self.json()
        text, whole = partial(self.random.choice, _TEXTS), partial(self.random.choice, _INTS)
        number = partial(self.random.choice, (*_FLOATS, *_INTS))
        if "tuple[str" in written:
            return [text() for _ in range(3)]
        if written.startswith("Mapping"):
            value = whole if "int" in written else number if "float" in written else text
            return {text(): value() for _ in range(self.random.randrange(3))}
        of_type = {"bool": lambda: True, "int": whole, "float": number, "str": text}
        return of_type.get(written.removesuffix(" | None"), self.json)()

    def json(self, depth: int = 3) -> Any:
        """Any value at all."""
        kind = self.random.randrange(7 if depth else 5)
        if kind == 5:
            return [self.json(depth - 1) for _ in range(self.random.randrange(4))]
        if kind == 6:
            return {self.random.choice(_TEXTS): self.json(depth - 1) for _ in range(self.random.randrange(4))}
        return (None, True, self.random.choice(_INTS), self.random.choice(_FLOATS), self.random.choice(_TEXTS))[kind]


def forget_peak(pid: int) -> int:
    """What the process has resident; from here on its peak is noted anew (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_mib(pid)


def growth_mib(pid: int, before: int) -> int:
    """By how much the process has grown since it had ``before`` MiB; said, for ``pytest -s``."""
    growth = memory_mib(pid) - before
    print(f"grown by {growth} MiB", flush=True)
    return growth


def memory_mib(pid: int, what: str = "VmRSS:") -> int:
    """What the process has resident, or (``VmHWM:``) has had at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(what)[2].split()[0]) // 1024
