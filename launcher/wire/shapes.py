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
    return _CHECKS[written](value)


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
    "int | None": _or_none(_is_whole),
    "float": _is_finite,
    "float | None": _or_none(_is_number),
    "str": _is_text,
    "str | None": _or_none(_is_text),
    "tuple[str, ...]": _tuple(_is_text),
    "tuple[Mapping[str, JsonValue], ...]": _tuple(_mapping(_is_json)),
    "Mapping[str, int]": _mapping(_is_whole),
    "Mapping[str, float]": _mapping(_is_number),
    "Mapping[str, str]": _mapping(_is_text),
    "Mapping[str, str | None]": _mapping(_or_none(_is_text)),
    "Mapping[str, JsonValue]": _mapping(_is_json),
    "Mapping[str, JsonValue] | None": _or_none(_mapping(_is_json)),
    "Message": lambda value: isinstance(value, dict),
}
