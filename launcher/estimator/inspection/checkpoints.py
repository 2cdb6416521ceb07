"""What is in checkpoints: one by its prefix, or a folder of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from launcher.estimator.adjustments.saving.checkpoint_files import missing_data
from launcher.estimator.inspection.kinds import STATE_FILE, checkpoints_in
from launcher.estimator.inspection.values import Checkpoint, InspectionError, Model, Variable

_STEP_VARIABLE = "global_step"
READ_ERRORS = (tf.errors.OpError, ValueError, RuntimeError)


def checkpoint(prefix: Path, notes: Sequence[str] = ()) -> Model:
    """One checkpoint. Raises InspectionError if its index cannot be read; what else is wrong is among its problems."""
    reader = open_reader(prefix)
    variables = variables_of(reader)
    problem = data_problem(prefix, variables)
    return Model(
        kind="checkpoint",
        path=str(prefix),
        bytes=_size(prefix),
        step=_step(prefix, None if problem else reader),
        variables_from=str(prefix),
        variables=variables,
        notes=tuple(notes),
        problems=(problem,) if problem else (),
    )


def folder(path: Path) -> Model:
    """A folder of checkpoints, with the variables of the latest one that is whole."""
    state = tf.train.get_checkpoint_state(str(path))
    latest, notes, problems = _latest(path, state)
    rows = tuple(_row(prefix, latest) for prefix in checkpoints_in(path))
    named = {Path(name).name for name in state.all_model_checkpoint_paths} if state is not None else set()
    gone = sorted(named - {Path(row.prefix).name for row in rows})
    if gone:
        notes.append(f"the file `{STATE_FILE}` names {len(gone)} that are gone: {', '.join(gone[:5])}")
    whole = [row for row in rows if not row.problem]
    chosen = next((row for row in rows if row.latest), None) or (whole[-1] if whole else None)
    if chosen is None:
        problems.append("none of the checkpoints can be restored" if rows else "it has no checkpoint")
        return Model(kind="checkpoint", path=str(path), bytes=0, checkpoints=rows, problems=tuple(problems))
    problems += [f"{Path(row.prefix).name}: {row.problem}" for row in rows if row.problem]
    variables = _variables_or_none(Path(chosen.prefix))
    return Model(
        kind="checkpoint",
        path=str(path),
        bytes=sum(row.bytes for row in rows),
        step=chosen.step,
        variables_from=chosen.prefix,
        variables=variables,
        checkpoints=rows,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def latest_in(path: Path) -> Path:
    """The prefix of the latest checkpoint of a folder; raises InspectionError if there is none."""
    latest, _, _ = _latest(path, tf.train.get_checkpoint_state(str(path)))
    if latest is None:
        raise InspectionError(f"{path}: the folder has no checkpoint that can be restored")
    return latest


def _latest(path: Path, state: Any) -> tuple[Path | None, list[str], list[str]]:
    """The checkpoint that a restore takes; a folder that was moved still names the old place."""
    prefixes = checkpoints_in(path)
    if state is None or not state.model_checkpoint_path:
        note = f"there is no file `{STATE_FILE}`: TensorFlow finds none of these by itself, the newest is shown"
        return (prefixes[-1] if prefixes else None), [note] if prefixes else [], []
    named = Path(state.model_checkpoint_path)  # get_checkpoint_state has put the folder before a relative one
    here = path / named.name
    if here in prefixes:
        moved = named.parent.resolve() != path.resolve()
        note = f"the file `{STATE_FILE}` names {named}, another folder: TensorFlow looks there, not here"
        return here, [note] if moved else [], []
    problem = f"the file `{STATE_FILE}` names {named.name} as the latest, which is not there"
    return (prefixes[-1] if prefixes else None), [], [problem]


def _row(prefix: Path, latest: Path | None) -> Checkpoint:
    step, problem = None, ""
    try:
        reader = open_reader(prefix)
        problem = data_problem(prefix, variables_of(reader))
        step = _step(prefix, None if problem else reader)
    except InspectionError as error:
        problem = str(error).removeprefix(f"{prefix}: ")
        step = _step(prefix, None)
    saved_at = datetime.fromtimestamp(_index(prefix).stat().st_mtime, timezone.utc)
    return Checkpoint(
        prefix=str(prefix),
        step=step,
        bytes=_size(prefix),
        saved_at=saved_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        latest=prefix == latest,
        problem=problem,
    )


def _variables_or_none(prefix: Path) -> tuple[Variable, ...]:
    try:
        return variables_of(open_reader(prefix))
    except InspectionError:
        return ()


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def open_reader(prefix: Path) -> Any:
    """A reader of the checkpoint. Raises InspectionError if its index is no index, or damaged."""
    try:
        return tf.compat.v1.train.NewCheckpointReader(str(prefix))
    except READ_ERRORS as error:
        raise InspectionError(f"{prefix}: its index cannot be read: {brief(error)}") from error


def variables_of(reader: Any) -> tuple[Variable, ...]:
    """Every tensor of a checkpoint, by name."""
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return tuple(_variable(name, dtypes[name], tuple(map(int, shapes[name]))) for name in sorted(shapes))


def _variable(name: str, dtype: Any, shape: tuple[int, ...]) -> Variable:
    fixed = dtype not in (tf.string, tf.resource, tf.variant)
    count = int(np.prod(shape, dtype=np.int64))
    return Variable(name=name, dtype=dtype.name, shape=shape, bytes=count * dtype.size if fixed else None)


def data_problem(prefix: Path, variables: Sequence[Variable]) -> str:
    """What is missing of the checkpoint's data files; empty if nothing is."""
    return missing_data(prefix, sum(variable.bytes or 0 for variable in variables))


def _step(prefix: Path, reader: Any) -> int | None:
    """The global step: the variable's value, else the number in the name."""
    if reader is not None and reader.has_tensor(_STEP_VARIABLE):
        try:
            return int(reader.get_tensor(_STEP_VARIABLE))
        except (*READ_ERRORS, TypeError):
            pass
    _, _, number = prefix.name.rpartition("-")
    return int(number) if number.isdigit() else None


def _size(prefix: Path) -> int:
    files = [_index(prefix), *prefix.parent.glob(f"{prefix.name}.data-*"), prefix.with_name(f"{prefix.name}.meta")]
    return sum(file.stat().st_size for file in files if file.is_file())


def brief(error: BaseException) -> str:
    """What an error of TensorFlow says, in one line: it may go on for pages, and begin with the whole stack."""
    text = str(getattr(error, "message", None) or error).strip()
    if text.startswith("Graph execution error"):
        text = re.split(r"^Node: .*$", text, flags=re.MULTILINE)[-1].strip()
    return (text.splitlines() or [type(error).__name__])[0][:300]
