"""Attributes of other people's classes and modules, replaced and put back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Wrapper = Callable[..., Any]


class Patches:
    """Replaces attributes, and remembers what was there."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set ``owner.name``, which must exist: a name that TensorFlow has renamed is an error, not a silent no-op."""
        self._replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        """Replace a function by ``wrapper``, which is called with the original before the arguments."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        self.set(owner, name, wrapped)

    def undo(self) -> None:
        """Put everything back, the last first."""
        while self._replaced:
            owner, name, value = self._replaced.pop()
            setattr(owner, name, value)
