"""Runs a model once: named inputs to named outputs, as a ``request.Request`` says."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from launcher.estimator.inspection import checkpoints, graphs
from launcher.estimator.inspection.checkpoints import READ_ERRORS, brief
from launcher.estimator.inspection.kinds import Found, Kind
from launcher.estimator.inspection.request import Request, near
from launcher.estimator.inspection.values import InspectionError

_SERVING = "serving_default"


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A model in a session. ``inputs`` and ``outputs``: the signature's names of tensors, if it has one."""

    session: Any
    path: Path
    hint: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def run(found: Found, request: Request) -> dict[str, Any]:
    """The outputs by name, as numpy arrays. Runs code of the model. Raises InspectionError."""
    graph = tf.Graph()
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    with graph.as_default(), tf.compat.v1.Session(graph=graph, config=config) as session:
        try:
            loaded = _load(found, session, request)
            feeds = {}
            for name, value in request.inputs.items():
                tensor = _tensor(loaded, name, loaded.inputs, "input")
                feeds[tensor] = _array(name, value, tensor)
            fetches = {name: _tensor(loaded, name, loaded.outputs, "output") for name in _wanted(loaded, request)}
            options = tf.compat.v1.RunOptions(timeout_in_ms=int(request.timeout_s * 1000))
            values: dict[str, Any] = session.run(fetches, feeds, options=options)
            return values
        except (*READ_ERRORS, DecodeError, TypeError, KeyError, OSError) as error:
            if isinstance(error, InspectionError):
                raise
            raise InspectionError(f"{found.path}: {_explain(error, request)}") from error


def _explain(error: BaseException, request: Request) -> str:
    text = brief(error)
    if isinstance(error, tf.errors.DeadlineExceededError):
        return f"no result within {request.timeout_s:g} s (timeout_s); a queue may wait for input that nobody gives"
    if isinstance(error, tf.errors.FailedPreconditionError):
        return f"its variables have no values, a graph alone has none: name the checkpoint instead ({text})"
    if isinstance(error, tf.errors.InvalidArgumentError) and "must feed a value for placeholder" in text.lower():
        name = text.partition("'")[2].partition("'")[0]
        return f"these outputs need the input {name!r}, too: add it to inputs"
    return text


# --- loading -----------------------------------------------------------------------------------------------------


def _load(found: Found, session: Any, request: Request) -> _Loaded:
    if found.kind is Kind.SAVED_MODEL:
        return _load_saved_model(found, session, request)
    if request.signature is not None or request.tags is not None:
        raise InspectionError(f"{found.path}: only a SavedModel has signatures and tags; name tensors, as x:0")
    if found.kind is Kind.GRAPH:
        tf.import_graph_def(graphs.read(found), name="")
        return _Loaded(session=session, path=found.path)
    prefix = _prefix(found)
    meta = found.path if found.kind is Kind.META_GRAPH else prefix.with_name(f"{prefix.name}.meta")
    if not meta.is_file():
        raise InspectionError(f"{prefix}: parameters only: there is no graph {meta.name} to run beside it")
    is_text = found.is_text and found.kind is Kind.META_GRAPH
    proto = graphs.read(Found(kind=Kind.META_GRAPH, path=meta, is_text=is_text))
    saver = tf.compat.v1.train.import_meta_graph(proto, clear_devices=True)
    if prefix.with_name(f"{prefix.name}.index").is_file() and saver is not None:
        saver.restore(session, str(prefix))
    session.run(tf.compat.v1.tables_initializer())
    return _Loaded(session=session, path=found.path)


def _prefix(found: Found) -> Path:
    if found.kind is Kind.CHECKPOINTS:
        return checkpoints.latest_in(found.path)
    return found.path.with_name(found.path.name.removesuffix(".meta"))


def _load_saved_model(found: Found, session: Any, request: Request) -> _Loaded:
    proto = graphs.read(found)
    tags = {tuple(sorted(meta.meta_info_def.tags)): meta for meta in proto.meta_graphs}
    wanted = tuple(sorted(request.tags)) if request.tags is not None else _default_tags(list(tags))
    if wanted not in tags:
        raise InspectionError(
            f"{found.path}: no graph with the tags {_list(wanted)}; there are {'; '.join(map(_list, tags))}"
        )
    folder = found.path if found.path.is_dir() else found.path.parent
    tf.compat.v1.saved_model.load(session, list(wanted), str(folder))
    signatures = tags[wanted].signature_def
    key = request.signature or _default_signature(signatures)
    if key is None:
        return _Loaded(session=session, path=found.path)
    if key not in signatures:
        known = ", ".join(sorted(signatures)) or "none"
        raise InspectionError(f"{found.path}: no signature {key!r}{near(key, signatures)}; there are: {known}")
    return _Loaded(
        session=session,
        path=found.path,
        hint=f" of signature {key}",
        inputs={name: info.name for name, info in signatures[key].inputs.items()},
        outputs={name: info.name for name, info in signatures[key].outputs.items()},
    )


def _list(words: Sequence[str]) -> str:
    return ", ".join(words) or "(none)"


def _default_tags(known: list[tuple[str, ...]]) -> tuple[str, ...]:
    serving = ("serve",)
    return serving if serving in known else known[0]


def _default_signature(signatures: Mapping[str, Any]) -> str | None:
    if _SERVING in signatures:
        return _SERVING
    public = [key for key in signatures if not key.startswith("__")]
    return public[0] if len(public) == 1 else None


# --- names and values --------------------------------------------------------------------------------------------


def _wanted(loaded: _Loaded, request: Request) -> tuple[str, ...]:
    if request.outputs:
        return request.outputs
    if loaded.outputs:
        return tuple(sorted(loaded.outputs))
    raise InspectionError(f'{loaded.path}: name what to fetch: "outputs": ["NAME"]')


def _tensor(loaded: _Loaded, name: str, named: Mapping[str, str], what: str) -> Any:
    graph = loaded.session.graph
    text = named.get(name, name)
    tried = (text, f"{text}:0", text.removeprefix("import/"), f"{text.removeprefix('import/')}:0")
    for candidate in tried:
        try:
            return graph.get_tensor_by_name(candidate)
        except (KeyError, ValueError):
            continue
    known = [*named, *(operation.name for operation in graph.get_operations())]
    listed = f"; there are {', '.join(sorted(named))}" if named else ""
    raise InspectionError(f"{loaded.path}: no {what} {name!r}{loaded.hint}{near(name, known) or listed}")


def _array(name: str, value: Any, tensor: Any) -> Any:
    """The value as an array of the tensor's type; raises InspectionError if it does not fit."""
    try:
        if tensor.dtype == tf.string:
            array = np.array(_bytes_of(value), dtype=object)
        else:
            array = np.asarray(value, dtype=tensor.dtype.as_numpy_dtype)
            _check_whole(value, array)
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        ragged = "inhomogeneous" in str(error) or "sequence" in str(error)
        reason = "its rows have different lengths" if ragged else str(error)
        raise InspectionError(f"input {name!r}: no {tensor.dtype.name}: {reason}") from error
    if not tensor.shape.is_compatible_with(array.shape):
        raise InspectionError(f"input {name!r}: shape {list(array.shape)} does not fit {_dims(tensor)}")
    return array


def _check_whole(value: Any, array: Any) -> None:
    if array.dtype.kind in "iu" and not np.array_equal(np.asarray(value, dtype=np.float64), array.astype(np.float64)):
        raise ValueError("some values are no whole numbers of that size")


def _bytes_of(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes_of(item) for item in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    raise TypeError('text or {"b64": …} is wanted')


def _dims(tensor: Any) -> str:
    return str(tensor.shape.as_list()).replace("None", "?") if tensor.shape.rank is not None else "?"


def json_value(array: Any) -> Any:
    """An array as JSON has it: nested lists; text where bytes are UTF-8, else ``{"b64": …}``; NaN and infinities as
    text, since JSON has none."""
    if isinstance(array, np.ndarray):
        return [json_value(item) for item in array] if array.ndim else json_value(array[()])
    if isinstance(array, bytes):
        try:
            return array.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(array).decode()}
    value = array.item() if hasattr(array, "item") else array
    if isinstance(value, float) and not np.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return str(value) if isinstance(value, complex) else value
