"""What the preloaded interpreter imports, and what it remembers for the tasks."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from launcher.agent.inside import fresh, generated
from launcher.agent.inside.forked import Effects, Template
from launcher.agent.inside.importing import OURS, Hidden, recording, top_of
from launcher.agent.inside.tensorflow_hooks import choose_keras_at_import, load_adjust

# What a DNNClassifier's train_and_evaluate imports beyond ``tf.estimator`` itself, as -X importtime shows.
_USED_BY_ESTIMATOR = ("google.protobuf.descriptor_pb2", "numpy.random", "{keras}.src.engine.base_layer_v1")


def imported(modules: Sequence[str], modules_at_start: frozenset[str], home: str) -> Template:
    """Imports ``modules``; ``tensorflow`` means tf.estimator and what it uses as well. ``home``: a private folder.
    Raises what an import raises."""
    env, path, filters = dict(os.environ), tuple(sys.path), tuple(warnings.filters)
    choose_keras_at_import()
    with recording() as needs:
        effects = tuple(_import(name, home) for name in modules)
        adjust = load_adjust() if "tensorflow" in modules else None
    sys.modules.pop("__mp_main__", None)  # multiprocessing's other name for __main__
    imported = frozenset({top_of(name) for name in sys.modules} - {top_of(name) for name in modules_at_start})
    numpy_random = sys.modules.get("numpy.random")
    fresh.set_warning_filters(filters)
    fresh.forget(sys.modules)
    hidden = Hidden(needs)
    hidden.hide(name for name in imported if name not in {*sys.stdlib_module_names, *OURS})
    return Template(
        env=env,
        effects=tuple(item for item in effects if item.top in {top_of(name) for name in hidden}),
        cwd=str(Path.cwd()),
        path=path,
        imported=imported,
        hidden=hidden,
        adjust=adjust,
        numpy_random=numpy_random,
    )


def _import(name: str, home: str) -> Effects:
    env, before = dict(os.environ), tuple(warnings.filters)
    importlib.import_module(name)
    if name == "tensorflow":
        _import_estimator(home)
    after = tuple(warnings.filters)
    start = min((position for position, item in enumerate(after) if item in before), default=len(after))
    return Effects(
        top=top_of(name),
        env={key: value for key, value in os.environ.items() if env.get(key) != value},
        front=after[:start],
        back=tuple(item for item in after[start:] if item not in before),
    )


def _import_estimator(home: str) -> None:
    try:
        from launcher.estimator import compat
        from launcher.estimator.compat import conversions

        compat.install()
    except ImportError as error:  # a TensorFlow without tensorflow-estimator: its scripts do without
        print(f"tflaunch: tf.estimator is not preloaded: {error}", file=sys.stderr)  # noqa: T201
        return
    tensorflow = importlib.import_module("tensorflow")
    _ = tensorflow.estimator.DNNClassifier, tensorflow.compat.v1.estimator.DNNClassifier
    keras = "tf_keras" if "tf_keras" in sys.modules else "keras"
    for name in _USED_BY_ESTIMATOR:
        full_name = name.format(keras=keras)
        if importlib.util.find_spec(full_name) is not None:
            importlib.import_module(full_name)
    with contextlib.suppress(ImportError):
        importlib.import_module(generated.LOADER)
    generated.goes_to(home)
    conversions.convert_ahead()
