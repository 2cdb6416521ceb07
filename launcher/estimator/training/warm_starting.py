"""Starting a new model from the part of an old one that fits."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from launcher.estimator.adjustments.start.fitting import CheckpointMismatchError, Stored
from launcher.estimator.adjustments.start.preflight import stored_variables, wanted_variables

_NOT_TAKEN = frozenset({"global_step"})
_log = logging.getLogger("tensorflow")


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStart:
    """``taken``: names here and in the checkpoint; ``left``: why each of the others was not taken, by name."""

    taken: dict[str, str]
    left: dict[str, str]


def warm_start(checkpoint: str, *, names: Mapping[str, str] | None = None) -> WarmStart:
    """Have the variables of the current graph begin with the values of ``checkpoint`` where shape and type agree.

    Call it in training, at the end of the model_fn, when the optimizer has made its slots. A model_dir that has a
    checkpoint goes on from that instead. ``checkpoint``: a prefix, or a folder, of which the newest is taken.
    ``names``: new name -> old name; one that ends in ``/`` is for everything below it. The global step starts at 0.

    Raises CheckpointMismatchError if nothing fits, and ValueError where ``names`` names what is not there.
    """
    path = tf.train.latest_checkpoint(checkpoint) or checkpoint
    try:
        stored = stored_variables(path)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(f"cannot warm-start from {checkpoint}: there is no checkpoint that can be read") from error
    variables = tf.compat.v1.global_variables()
    wanted = {name: form for name, form in wanted_variables(variables) if name not in _NOT_TAKEN}
    found = match(wanted, stored, names or {})
    if not found.taken:
        raise CheckpointMismatchError(f"nothing of {path} fits the model: {_in_words(found.left)}")
    parts: dict[str, list[Any]] = {}
    for variable in variables:
        for name, _ in wanted_variables([variable]):
            parts.setdefault(name, []).append(variable)
    for name, old in found.taken.items():
        whole = parts[name] if len(parts[name]) > 1 else parts[name][0]
        tf.compat.v1.train.init_from_checkpoint(path, {old: whole})
    left = f"; not taken: {_in_words(found.left)}" if found.left else ""
    _log.info("Warm start from %s: %d of %d variables%s.", path, len(found.taken), len(wanted), left)
    return found


def match(wanted: Mapping[str, Stored], stored: Mapping[str, Stored], names: Mapping[str, str]) -> WarmStart:
    """Which variable begins as which. Raises ValueError where ``names`` names what is not there."""
    for new, old in names.items():
        _demand(new, wanted, "the model")
        _demand(old, stored, "the checkpoint")
    taken, left = {}, {}
    for name, form in sorted(wanted.items()):
        old = _old_name(name, names)
        if old not in stored:
            left[name] = f"{old} is not in the checkpoint"
        elif stored[old] != form:
            left[name] = f"{stored[old]} stored, {form} wanted"
        else:
            taken[name] = old
    return WarmStart(taken=taken, left=left)


def _old_name(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    prefixes = [new for new in names if new.endswith("/") and name.startswith(new)]
    if not prefixes:
        return name
    longest = max(prefixes, key=len)
    return names[longest] + name[len(longest) :]


def _demand(name: str, there: Mapping[str, Stored], where: str) -> None:
    if name in there or (name.endswith("/") and any(other.startswith(name) for other in there)):
        return
    near = difflib.get_close_matches(name, there, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"warm start: {where} has no variable {name}{guess}")


def _in_words(left: Mapping[str, str], shown: int = 5) -> str:
    rows = [f"{name} ({why})" for name, why in left.items()]
    return ", ".join(rows[:shown]) + (f", and {len(rows) - shown} more" if len(rows) > shown else "")
