"""What an exported SavedModel is fed with, and the same model as one frozen ``.pb`` file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from launcher.estimator.compat import install

install()
EXAMPLES = "examples"
EXAMPLES_SIGNATURE = "examples:serving_default"


def serving_input_fn(spec: Mapping[str, tf.io.FixedLenFeature]) -> Callable[[], Any]:
    """Two signatures: ``serving_default`` takes the raw features, ``examples:serving_default`` takes string[batch] of
    serialised tf.Example as ``examples``.

    ``spec``: as for ``tf.io.parse_example``; every feature is of a fixed length.
    """
    ragged = sorted(name for name, form in spec.items() if not isinstance(form, tf.io.FixedLenFeature))
    if ragged:
        raise ValueError(f"serving_input_fn: {', '.join(ragged)}: only a FixedLenFeature can be fed as one tensor")

    def receiver() -> Any:
        serialized = tf.compat.v1.placeholder(tf.string, [None], name=EXAMPLES)
        parsed = tf.io.parse_example(serialized, dict(spec))
        features = {
            name: tf.compat.v1.placeholder_with_default(value, [None, *spec[name].shape], name=_node(name))
            for name, value in parsed.items()
        }
        return tf.estimator.export.ServingInputReceiver(features, features, {EXAMPLES: {EXAMPLES: serialized}})

    return receiver


def _node(feature: str) -> str:
    """``input_<feature>``, with what a node's name may not have made an underscore."""
    return "input_" + re.sub(r"[^A-Za-z0-9_.-]", "_", feature)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """Tensors of a frozen graph by the names of the signature, such as ``{"pctr": "pctr:0"}``."""

    file: str
    inputs: dict[str, str]
    outputs: dict[str, str]


def freeze(saved_model: str, file: str, *, signature: str = "serving_default") -> Frozen:
    """Writes a GraphDef in which variables are constants, cut down to what ``signature`` needs; appears whole.

    Raises ValueError for a signature that the SavedModel does not have.
    """
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
        if signature not in meta.signature_def:
            raise ValueError(f"{saved_model} has no signature {signature}; there are {', '.join(meta.signature_def)}")
        chosen = meta.signature_def[signature]
        inputs = {name: str(tensor.name) for name, tensor in chosen.inputs.items()}
        outputs = {name: str(tensor.name) for name, tensor in chosen.outputs.items()}
        nodes = sorted({tensor.partition(":")[0] for tensor in (*outputs.values(), *inputs.values())})
        graph = tf.compat.v1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), nodes)
    with tf.io.gfile.GFile(f"{file}.new", "wb") as out:
        out.write(graph.SerializeToString())
    tf.io.gfile.rename(f"{file}.new", file, overwrite=True)
    return Frozen(file=file, inputs=inputs, outputs=outputs)
