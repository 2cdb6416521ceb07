"""Whether a value that has arrived is of the type that a message's field is written with.

Everybody's messages are checked, and once: where they are read.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Check = Callable[[Any], bool]

_MOST = 2**63


def fits(value: object, written: str) -> bool:
    """Whether ``value``, as JSON gives it, is a ``written``."""
    return _is_finite(value) if written == "float" else _check_of(written)(value)


def _is_text(value: Any) -> bool:
    """Lone surrogates, which JSON can spell, are no text: no file and no terminal takes them."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_whole(value: Any) -> bool:
    return type(value) is int and -_MOST <= value < _MOST


def _is_number(value: Any) -> bool:
    """A loss or a metric may well be no number, or infinite."""
    return type(value) is float or _is_whole(value)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_text(key) and _is_json(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    return value is None or isinstance(value, bool) or _is_number(value) or _is_text(value)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _tuple(check: Check) -> Check:
    return lambda value: isinstance(value, (list, tuple)) and all(map(check, value))


def _mapping(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(_is_text(key) and check(item) for key, item in value.items())


_CHECKS: dict[str, Check] = {
    "bool": lambda value: isinstance(value, bool),
    "int": _is_whole,
    "float": _is_number,
    "str": _is_text,
    "JsonValue": _is_json,
    "Message": lambda value: isinstance(value, dict),
}


def _check_of(written: str) -> Check:
    if written not in _CHECKS:
        _CHECKS[written] = _made(written)
    return _CHECKS[written]


def _made(written: str) -> Check:
    if written.endswith(" | None"):
        return _or_none(_check_of(written.removesuffix(" | None")))
    if written.startswith("Mapping[str, "):
        return _mapping(_check_of(written.removeprefix("Mapping[str, ").removesuffix("]")))
    if written.startswith("tuple[") and written.endswith(", ...]"):
        return _tuple(_check_of(written.removeprefix("tuple[").removesuffix(", ...]")))
    raise TypeError(f"no message has a field of type {written!r}")
