"""What is imported, and what importing finds."""

import importlib.metadata
import importlib.resources
import importlib.util
import pkgutil
import sys

NAMES = ("numpy", "absl", "six", "google", "tensorflow", "keras", "launcher", "jobs", "tensorflow_estimator")
print([name for name in NAMES if name in sys.modules])
for name in ("numpy", "absl", "typing_extensions"):
    spec = importlib.util.find_spec(name)
    print(spec.name, spec.origin, spec.submodule_search_locations, spec.has_location, spec.parent)
print([name for name in NAMES if name in sys.modules])
print(importlib.util.find_spec("no_such_module"), importlib.metadata.version("numpy"))
import numpy  # noqa: E402

print(numpy.__spec__, numpy.__loader__ is numpy.__spec__.loader, sys.modules["numpy"] is numpy)
print("tensorflow" in sys.modules, "numpy.linalg" in sys.modules, numpy.array([1, 2]).sum())
print(importlib.resources.files("numpy").joinpath("__init__.py").is_file(), len(pkgutil.get_data("absl", "app.py")) > 9)
import absl.flags  # noqa: E402
import absl.logging as log  # noqa: E402

print(absl.flags, log.__name__, [name for name in NAMES if name in sys.modules])
print(importlib.reload(absl.flags) is absl.flags)
