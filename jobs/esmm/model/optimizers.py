"""Optimizers by name. All are TF1 optimizers: their slots live beside the variables on the parameter servers."""

from __future__ import annotations

from jobs._tf import tf
from jobs.errors import JobError


class LazyAdamOptimizer(tf.compat.v1.train.AdamOptimizer):  # type: ignore[misc]
    """Adam that touches only the rows of a sparse gradient, moments included.

    Plain Adam decays the moments of the whole embedding table at each step, which on a parameter server costs time
    and memory traffic in proportion to the table. After tf.contrib.opt.LazyAdamOptimizer of TensorFlow 1.15.

    ``unique_rows``: the gradients name no row twice, as those of a lookup of unique ids do; then the parameter server
    need not add them up once more.
    """

    def __init__(self, learning_rate: float, *, unique_rows: bool = False) -> None:
        super().__init__(learning_rate)
        self._unique_rows = unique_rows

    def _resource_apply_sparse_duplicate_indices(
        self, grad: tf.Tensor, handle: tf.Variable, indices: tf.Tensor
    ) -> tf.Operation:
        if self._unique_rows:
            return self._resource_apply_sparse(grad, handle, indices)
        return super()._resource_apply_sparse_duplicate_indices(grad, handle, indices)

    def _resource_apply_sparse(self, grad: tf.Tensor, var: tf.Variable, indices: tf.Tensor) -> tf.Operation:
        beta1_power, beta2_power = self._get_beta_accumulators()
        cast = [tf.cast(x, grad.dtype) for x in (self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)]
        rate, beta1, beta2, epsilon = cast
        rate *= tf.sqrt(1.0 - tf.cast(beta2_power, grad.dtype)) / (1.0 - tf.cast(beta1_power, grad.dtype))
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = beta1 * tf.gather(m, indices) + (1.0 - beta1) * grad
        v_rows = beta2 * tf.gather(v, indices) + (1.0 - beta2) * tf.square(grad)
        return tf.group(
            m.scatter_update(tf.IndexedSlices(m_rows, indices)),
            v.scatter_update(tf.IndexedSlices(v_rows, indices)),
            var.scatter_sub(tf.IndexedSlices(rate * m_rows / (tf.sqrt(v_rows) + epsilon), indices)),
        )


def make_optimizer(name: str, learning_rate: float, *, unique_rows: bool = False) -> tf.compat.v1.train.Optimizer:
    """The optimizer of that name. Raises JobError for an unknown one.

    ``lazy-adam`` and ``adagrad`` touch the rows of a step and nothing else. Adagrad's first steps depend on the size of
    the gradients, which in a table of rare ids is tiny: it needs a learning rate for each kind of data. Lazy Adam does
    not, and is as fast; so it is the default.
    """
    train = tf.compat.v1.train
    if name == "lazy-adam":
        return LazyAdamOptimizer(learning_rate, unique_rows=unique_rows)
    if name == "adam":
        return train.AdamOptimizer(learning_rate)
    if name == "adagrad":
        return train.AdagradOptimizer(learning_rate)
    if name == "momentum":
        return train.MomentumOptimizer(learning_rate, momentum=0.9)
    if name == "sgd":
        return train.GradientDescentOptimizer(learning_rate)
    raise JobError(f"no optimizer named {name!r}")
