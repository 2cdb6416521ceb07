"""Frozen messages, and their form on the wire: a JSON object a line, with the message's ``kind``."""

from __future__ import annotations

import json
import reprlib

from launcher.wire.forms import shapes

TYPE_CHECKING = False
if TYPE_CHECKING:  # the module typing would cost an agent as much as all of this
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import dataclass_transform

    JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
    _M = TypeVar("_M", bound="Message")
else:
    JsonValue = object

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Tells type checkers, and nobody else, that annotations are fields."""
        return lambda cls: cls


VERSION = 1
# What a task notes of itself after its traceback, a line each: "NAME: PATH".
DAMAGED_FILE = "[tflaunch] damaged file"
COMPRESSED_FILE = "[tflaunch] compressed file"
DAMAGED_CHECKPOINT = "[tflaunch] damaged checkpoint"
GOOD_CHECKPOINT = "[tflaunch] whole checkpoint"
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_EVENT_BYTES = 4 * 1024 * 1024  # of what an agent says, which its supervisor trusts less than the other way round
MAX_OUTPUT_BYTES = 1024 * 1024  # of one piece of a task's output
MAX_VALUES = 50_000  # of one message: JSON of a few bytes may become an object of hundreds

_KINDS: dict[str, type[Message]] = {}
NOTHING: dict[str, Any] = {}


class ProtocolError(Exception):
    """A line that is no message of this protocol; the text says why."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Message:
    """A value that travels: its annotations are its fields, given by keyword. ``kind`` is its name on the wire.

    What a frozen dataclass is, without the module, which costs an agent more than all else that it imports.
    """

    kind: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, str]] = {}
    """Names and types, as they are written."""
    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        cls.fields = {**cls.fields, **cls.__annotations__}
        cls._defaults = {name: getattr(cls, name) for name in cls.fields if hasattr(cls, name)}
        if kind:
            cls.kind = kind
            _KINDS[kind] = cls

    def __init__(self, **values: Any) -> None:
        given = {**self._defaults, **values}
        if given.keys() != self.fields.keys():
            unknown, missing = given.keys() - self.fields.keys(), self.fields.keys() - given.keys()
            wrong = f"has no {', '.join(sorted(unknown))}" if unknown else f"lacks {', '.join(sorted(missing))}"
            raise TypeError(f"{type(self).__name__} {wrong}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} does not change")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.fields)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"


def changed(message: _M, **changes: Any) -> _M:
    """The same message with other values in some of its fields."""
    return type(message)(**{**vars(message), **changes})


def encode(message: Message) -> bytes:
    """One line of UTF-8 JSON with its newline."""
    return json.dumps(to_json(message), separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def to_json(message: Message) -> dict[str, Any]:
    """The JSON object of a message: its kind and its fields."""
    body: dict[str, Any] = {"kind": message.kind}
    for name in message.fields:
        value = getattr(message, name)
        body[name] = to_json(value) if isinstance(value, Message) else value
    return body


def decode(line: bytes) -> Message:
    """The message of one line. Unknown fields are passed over; raises ProtocolError for anything else unknown, for a
    field of another type than it is written with, and for more values than any message has."""
    if len(line) > MAX_VALUES and _values(line) > MAX_VALUES:
        raise ProtocolError(f"more than {MAX_VALUES} values in one message: {line[:200]!r}")
    try:
        return from_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:200]!r}") from error


def _values(line: bytes) -> int:
    """At least as many as the JSON of a line has values: its brackets and commas outside of strings."""
    parts = line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 4 * MAX_VALUES)
    outside = b"".join(parts[::2])
    return sum(map(outside.count, (b"[", b"{", b",")))


def from_json(body: object) -> Message:
    """The message of a JSON object; raises ProtocolError if it is none."""
    if not _is_message(body):
        raise ProtocolError(f"no message of this protocol: {reprlib.repr(body)}")
    assert isinstance(body, dict)
    cls = _KINDS[body["kind"]]
    for name, written in cls.fields.items():
        if name in body and not shapes.fits(body[name], written):
            raise ProtocolError(f"{body['kind']}: {name} is no {written}: {reprlib.repr(body[name])}")
    # By the field's type, not by the value: other objects may well have a "kind" of their own.
    nested = {name: written == "Message" for name, written in cls.fields.items()}
    values = {key: from_json(value) if nested[key] else _frozen(value) for key, value in body.items() if key in nested}
    try:
        return cls(**values)
    except TypeError as error:
        raise ProtocolError(f"{body['kind']}: {error}") from error


def _is_message(body: object) -> bool:
    kind = body.get("kind") if isinstance(body, dict) else None
    return isinstance(kind, str) and kind in _KINDS


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
