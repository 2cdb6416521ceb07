"""How TensorFlow from 2.16 on is told to take Keras 2 (tf-keras) as ``tf.keras``: by a variable, before its import."""

from __future__ import annotations

import importlib.util
from importlib.machinery import PathFinder

from launcher.wire.variables import LEGACY_KERAS_VARIABLE, ON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

VARIABLE = "TF_USE_LEGACY_KERAS"  # tensorflow/python/util/lazy_loader.py


def is_legacy(environ: Mapping[str, str]) -> bool:
    """Whether TensorFlow takes Keras 2 with these variables."""
    return environ.get(VARIABLE) in ("true", "True", "1")


def choose(environ: MutableMapping[str, str], default: str = "") -> None:
    """Has TensorFlow take Keras 2 if the launcher, or ``default`` where there is none, says so. To be called right
    before TensorFlow is imported; one with Estimators of its own has Keras 2 anyway. What the user has set stays."""
    wanted = environ.get(LEGACY_KERAS_VARIABLE, default) == ON
    if wanted and not has_own_estimator() and importlib.util.find_spec("tf_keras") is not None:
        environ.setdefault(VARIABLE, "1")


def has_own_estimator() -> bool:
    """Whether the TensorFlow that is here has Estimators itself, as up to 2.15."""
    spec = importlib.util.find_spec("tensorflow")
    folders = spec.submodule_search_locations if spec is not None else None
    return PathFinder.find_spec("estimator", [f"{folder}/python" for folder in folders or ()]) is not None
