"""What a step sends between trainer and parameter servers: few large tensors instead of many small ones.

The usual way fetches each variable, and returns each gradient, by a request of its own. Here the dense variables of a
parameter server travel as one vector, and so do their gradients; they stay separate variables with separate names, so
that checkpoints, warm starts and exports see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from jobs._tf import tf

VariableList = Sequence[tf.Variable]


def read_together(variables: VariableList) -> list[tf.Tensor]:
    """The values of dense variables, in their order, fetched from each parameter server at once.

    Gradients pass through. Where variables are on no parameter server this only reads them.
    """
    values: dict[int, tf.Tensor] = {}
    for device in dict.fromkeys(variable.device for variable in variables):
        places = [i for i, variable in enumerate(variables) if variable.device == device]
        group = [variables[i] for i in places]
        read = _fetch(group, device) if _is_remote(device) and len(group) > 1 else [tf.identity(v) for v in group]
        values |= dict(zip(places, read, strict=True))
    return [values[i] for i in range(len(variables))]


def _is_remote(device: str) -> bool:
    return "/job:ps" in device


def _fetch(group: VariableList, device: str) -> list[tf.Tensor]:
    shapes = [variable.shape.as_list() for variable in group]
    sizes = [prod(shape) for shape in shapes]

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def pack(*parts: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
        def unpack(gradient: tf.Tensor) -> list[tf.Tensor]:
            with tf.device(device):
                return _split(tf.identity(gradient), sizes, shapes)

        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0), unpack

    with tf.device(device):  # around the call, too: custom_gradient copies what it is given
        flat = pack(*[variable.read_value() for variable in group])
    return _split(flat, sizes, shapes)


def _split(flat: tf.Tensor, sizes: Sequence[int], shapes: Sequence[Sequence[int]]) -> list[tf.Tensor]:
    return [tf.reshape(part, shape) for part, shape in zip(tf.split(flat, sizes), shapes, strict=True)]
