"""Where AutoGraph writes what it generates: into a private folder of the run's, which goes with it. TensorFlow removes
these files at the end of its process only, and who is killed has none."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType, SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LOADER = "tensorflow.python.autograph.pyct.loader"


def goes_to(folder: str) -> None:
    """From now on. Where programs put theirs stays as it is, and so does where TensorFlow's parts are others."""
    loader: Any = sys.modules.get(LOADER)
    made = getattr(loader, "tempfile", None)
    if folder and isinstance(made, ModuleType):
        loader.tempfile = SimpleNamespace(NamedTemporaryFile=partial(_temporary_file, made.NamedTemporaryFile, folder))
    elif folder and isinstance(made, SimpleNamespace):  # this process was forked from one that had another folder
        make, _ = made.NamedTemporaryFile.args
        made.NamedTemporaryFile = partial(_temporary_file, make, folder)


def _temporary_file(make: Callable[..., Any], folder: str, **options: Any) -> Any:
    try:
        return make(dir=folder, **options)
    except OSError:  # the program has become somebody else, or there is room on its own disk alone
        return make(**options)
