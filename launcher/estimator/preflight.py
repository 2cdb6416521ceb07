"""preflight: a checkpoint that does not fit the graph is refused in words before anything is restored from it.

With resource variables a restore takes over whatever shape the checkpoint has: a vocabulary of 6 goes on with a table
of 10 rows, and saves it again (``ResourceVariableSaveable.restore`` in
``tensorflow/python/training/saving/saveable_object_util.py`` sets the shape only where it is static). Every restore by
name ends in ``Saver.restore``; a trainer of an Estimator is looked at even before it opens a session.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from launcher.estimator.fitting import CheckpointMismatchError, Differences, Stored, compare, left_out, refusal
from launcher.estimator.patches import Patches
from launcher.estimator.task import Task

SAVER = "tensorflow.python.training.saver"
ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_log = logging.getLogger("tensorflow")


def check(checkpoint: str, variables: Any, *, any_shape: bool = False) -> Differences | None:
    """Compare what a Saver would restore with what ``checkpoint`` has. Reads its index only.

    ``variables``: a Saver's ``var_list``, as a list or by name. None where there is nothing to compare: what cannot be
    read is left to TensorFlow to complain about. Raises CheckpointMismatchError.
    """
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
    try:
        stored = stored_variables(checkpoint)
    except (errors.OpError, ValueError, RuntimeError):
        return None
    if _OBJECT_GRAPH in stored:  # saved by tf.train.Checkpoint: names are of objects, and TensorFlow maps them
        return None
    wanted = {
        name: Stored(shape=None, dtype=variable.dtype) if any_shape else variable
        for name, variable in wanted_variables(variables)
    }
    differences = compare(graph=wanted, checkpoint=stored)
    if differences.forbid_restoring:
        raise CheckpointMismatchError(refusal(differences, checkpoint))
    return differences


def stored_variables(checkpoint: str) -> dict[str, Stored]:
    """What a checkpoint has, by name."""
    reader: Any = importlib.import_module("tensorflow.python.training.checkpoint_utils").load_checkpoint(checkpoint)
    dtypes: Mapping[str, Any] = reader.get_variable_to_dtype_map()
    shapes: Mapping[str, Any] = reader.get_variable_to_shape_map()
    return {
        name: Stored(shape=tuple(int(length) for length in shape), dtype=str(dtypes[name].name))
        for name, shape in shapes.items()
    }


def guard_restores(patches: Patches, task: Task) -> None:
    """Look at a checkpoint before any Saver restores from it by name."""
    saver: Any = importlib.import_module(SAVER)

    def restore(original: Callable[..., Any], saver: Any, session: Any, save_path: Any) -> Any:
        if save_path is not None and session is not None and saver._var_list is not None:
            differences = check(str(save_path), saver._var_list, any_shape=bool(saver._reshape))
            if differences and differences.removed and session.graph.get_collection("train_op"):
                _log.warning("%s", left_out(differences, str(save_path)))
        return original(saver, session, save_path)

    patches.wrap(saver.Saver, "restore", restore)


def check_before_training(patches: Patches, task: Task) -> None:
    """Have every trainer look at the checkpoint that it is about to go on from, before it opens a session."""
    module: Any = importlib.import_module(ESTIMATOR)

    def train(original: Callable[..., Any], estimator: Any, spec: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoint = estimator.latest_checkpoint()
        saver = spec.scaffold.saver or next(iter(_collection("savers")), None)
        variables = getattr(saver, "_var_list", None) or _collection("variables")
        if checkpoint and not getattr(saver, "_reshape", False):
            check(checkpoint, variables)
        return original(estimator, spec, *args, **kwargs)

    patches.wrap(module.Estimator, "_train_with_estimator_spec", train)


def wanted_variables(variables: Any) -> Iterator[tuple[str, Stored]]:
    """Name in the checkpoint and form of each variable. Tables and iterators are left out."""
    named: Iterable[tuple[str | None, Any]] = (
        variables.items() if isinstance(variables, Mapping) else ((None, variable) for variable in variables)
    )
    for name, variable in named:
        parts = variable if isinstance(variable, (list, tuple)) else getattr(variable, "_variable_list", [variable])
        for part in parts:
            yield from _form(name, part)


def _form(name: str | None, variable: Any) -> Iterator[tuple[str, Stored]]:
    if not (hasattr(variable, "shape") and hasattr(variable, "dtype") and hasattr(variable, "initializer")):
        return
    whole = getattr(variable, "_save_slice_info", None)
    own_name = whole.full_name if whole is not None else str(variable.name).partition(":")[0]
    shape = tuple(whole.full_shape) if whole is not None else _static(variable.shape)
    yield name or own_name, Stored(shape=shape, dtype=str(variable.dtype.base_dtype.name))


def _static(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())


def _collection(name: str) -> Any:
    ops: Any = importlib.import_module("tensorflow.python.framework.ops")
    return ops.get_default_graph().get_collection(name)
