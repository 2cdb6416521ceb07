"""preflight: a checkpoint that does not fit the graph is refused in words before anything is restored from it.

With resource variables a restore takes over whatever shape the checkpoint has: a vocabulary of 6 goes on with a table
of 10 rows, and saves it again (``ResourceVariableSaveable.restore`` in
``tensorflow/python/training/saving/saveable_object_util.py`` sets the shape only where it is static). Every restore by
name ends in ``Saver.restore``; a trainer of an Estimator is looked at even before it opens a session.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start.fitting import (
    CheckpointMismatchError,
    Differences,
    LostCheckpointError,
    Stored,
    compare,
    left_out,
    refusal,
)
from launcher.estimator.task import Task

SAVER = "tensorflow.python.training.saver"
ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_CHECKPOINT = re.compile(r"model\.ckpt-(\d+)\.index")
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
            said = left_out(differences, str(save_path)) if differences else ""
            if said and session.graph.get_collection("train_op"):
                _log.warning("%s", said)
        return original(saver, session, save_path)

    patches.wrap(saver.Saver, "restore", restore)


def check_before_training(patches: Patches, task: Task) -> None:
    """Have every trainer look at the checkpoint that it is about to go on from, before it opens a session."""
    module: Any = importlib.import_module(ESTIMATOR)

    def train(original: Callable[..., Any], estimator: Any, spec: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoint = _newest(estimator)
        if not checkpoint and estimator.config.is_chief:  # who alone writes there, so that nothing changes meanwhile
            check_none_is_lost(str(estimator.model_dir))
        saver = spec.scaffold.saver or next(iter(_collection("savers")), None)
        variables = getattr(saver, "_var_list", None) or _collection("variables")
        if checkpoint and not getattr(saver, "_reshape", False):
            check(checkpoint, variables)
        return original(estimator, spec, *args, **kwargs)

    patches.wrap(module.Estimator, "_train_with_estimator_spec", train)


def _newest(estimator: Any) -> str | None:
    """None also where the file ``checkpoint`` is empty, of which TensorFlow complains in other words."""
    try:
        return estimator.latest_checkpoint() or None
    except ValueError:
        return None


def check_none_is_lost(model_dir: str) -> None:
    """Raises LostCheckpointError where the file ``checkpoint`` is gone or damaged, and checkpoints are not.

    Those of step 0 do not count: their files are there before ``checkpoint`` names them for the first time, and from
    then on it is only ever replaced whole (``update_checkpoint_state`` in
    ``tensorflow/python/checkpoint/checkpoint_management.py``).
    """
    file_io: Any = importlib.import_module("tensorflow.python.lib.io.file_io")
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
    try:
        names = [str(name) for name in file_io.list_directory_v2(model_dir)]
    except errors.OpError:
        return
    steps = [int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))]
    if max(steps, default=0) > 0:
        newest = f"model.ckpt-{max(steps)}"
        raise LostCheckpointError(
            f"{model_dir} has {newest}, but its file 'checkpoint' is gone or damaged: training would begin anew. To go "
            f'on from it write this line there: model_checkpoint_path: "{newest}"; to begin anew take another '
            "model_dir, or remove the checkpoints"
        )


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
