"""Has AutoGraph convert, before tasks are forked, what it converts of the canned Estimators with deep layers.

That is a third of the time in which such a model's graph is made, and the same for every model: AutoGraph keeps what it
converts for the whole process (``tensorflow/python/autograph/impl/api.py``). No graph and no thread comes of it.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def convert_ahead() -> None:
    """Does it, with the options that Keras's layers ask for. Where TensorFlow is another one, it is done later, as
    ever."""
    before = {*sys.modules}
    # Whatever goes wrong, it must not keep an interpreter from its start.
    with _no_bytecode(), contextlib.suppress(Exception):
        api = importlib.import_module("tensorflow.python.autograph.impl.api")
        converter = importlib.import_module("tensorflow.python.autograph.core.converter")
        dnn = importlib.import_module("tensorflow_estimator.python.estimator.canned.dnn")
        options = converter.ConversionOptions(recursive=True, user_requested=False, optional_features=None)
        for function in (dnn._DNNModelV2.call, dnn._add_hidden_layer_summary):
            api._convert_actual(function, converter.ProgramContext(options=options))
    for name in sys.modules.keys() - before:
        if name.startswith("__autograph_generated_file"):
            _keep_in_memory(sys.modules[name])


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """It would lie beside the generated files, in /tmp/__pycache__, for ever."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _keep_in_memory(module: ModuleType) -> None:
    """Its file would be removed by the first of all forks that ends, or by none; tracebacks show its lines."""
    file = Path(str(module.__file__))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    linecache.cache[str(file)] = (0, None, lines, str(file))
    file.unlink()
