"""Names of columns where TensorFlow names variables after them: these are letters of ASCII, digits and a few signs."""

from __future__ import annotations

import re
from typing import Any

_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]")


def scope_name(name: str) -> str:
    """The name itself where it can be one; else with the number of each character that cannot, in hexadecimal between
    dots: ``年龄`` is ``.5e74..9f84.``. The same in every process and version, since checkpoints have it."""
    return _UNFIT.sub(lambda found: f".{ord(found[0]):x}.", name)


def scoped(column: Any) -> Any:
    """A feature column of the same feature, whose variables are named by ``scope_name``."""
    made = type(column)
    name = scope_name(column.name)
    if name == column.name:
        return column
    return type(made.__name__, (made,), {"name": property(lambda self: name), "__slots__": ()})(*column)
