"""What a user wants to feed to a model and to fetch from it. Needs no TensorFlow.

A request is an object: ``inputs`` (name to value, nested lists for arrays, text or ``{"b64": …}`` for bytes), and if
need be ``outputs`` (names; without them all of the signature), ``signature``, ``tags`` and ``timeout_s``. A name is one
of the signature's, or a tensor's in the graph: ``x:0``, or ``x`` for its first result.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.estimator.inspection.values import InspectionError

_TIMEOUT_S = 60.0
_KEYS = ("inputs", "outputs", "signature", "tags", "timeout_s")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be fed and fetched."""

    inputs: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    signature: str | None = None
    tags: tuple[str, ...] | None = None
    timeout_s: float = _TIMEOUT_S


def parse_request(text: str, name: str) -> Request:
    """The request of a JSON text; ``name`` is what errors call it. Raises InspectionError."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InspectionError(f"{name}: not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), dict):
        raise InspectionError(f'{name}: write {{"inputs": {{"NAME": VALUE}}, "outputs": ["NAME"]}}')
    for key in body:
        if key not in _KEYS:
            raise InspectionError(f"{name}: unknown key {key[:80]!r}{near(key, _KEYS)}; known are {', '.join(_KEYS)}")
    for key in ("outputs", "tags"):
        if key in body and not _are_texts(body[key]):
            raise InspectionError(f"{name}: {key} must be a list of names")
    if not isinstance(body.get("signature", ""), str):
        raise InspectionError(f"{name}: signature must be a name")
    timeout_s = body.get("timeout_s", _TIMEOUT_S)
    if not isinstance(timeout_s, (int, float)) or isinstance(timeout_s, bool) or not 0 < timeout_s <= 86400:
        raise InspectionError(f"{name}: timeout_s must be a number of seconds, 86400 at most")
    tags = body.get("tags")
    return Request(
        inputs=body["inputs"],
        outputs=tuple(body.get("outputs", ())),
        signature=body.get("signature"),
        tags=None if tags is None else tuple(tags),
        timeout_s=float(timeout_s),
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def near(word: str, known: Iterable[str]) -> str:
    """``; do you mean 'x' or 'y'?`` for the known names that are nearly ``word``, else nothing."""
    found = difflib.get_close_matches(word, list(known), 3, 0.6)
    return f"; do you mean {' or '.join(map(repr, found))}?" if found else ""
