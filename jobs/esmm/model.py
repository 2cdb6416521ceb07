"""The graph of ESMM as a model function of tf.estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jobs._tf import estimator, tf
from jobs.errors import JobError
from jobs.esmm.config import ModelConfig
from jobs.esmm.losses import Losses, ctcvr_logit, esmm_losses
from jobs.esmm.optimizers import make_optimizer
from jobs.esmm.schema import CLICK, CONVERSION
from launcher.estimator import metrics, warm_start

Tensors = Mapping[str, tf.Tensor]
ModelFn = Callable[..., estimator.EstimatorSpec]


class Logits(NamedTuple):
    """float32[batch] each."""

    ctr: tf.Tensor
    cvr: tf.Tensor
    ctcvr: tf.Tensor


def make_model_fn(config: ModelConfig, *, learning_rate: float = 0.0, group_by: str | None = None) -> ModelFn:
    """``learning_rate`` matters for training only; ``group_by``, a feature, adds AUC within its values."""

    def model_fn(
        features: Tensors, labels: Tensors | None, mode: str, config: estimator.RunConfig
    ) -> estimator.EstimatorSpec:
        logits = esmm_logits(features, shape, ps_tasks=config.num_ps_replicas)
        if labels is None:
            return _predict_spec(logits)
        click, conversion = (tf.cast(labels[name], tf.float32) for name in (CLICK, CONVERSION))
        losses = esmm_losses(click, conversion, logits.ctr, logits.cvr)
        if mode == estimator.ModeKeys.EVAL:
            ops = _eval_metric_ops(click, conversion, logits, losses, features[group_by] if group_by else None)
            return estimator.EstimatorSpec(mode, loss=losses.ctr + losses.ctcvr, eval_metric_ops=ops)
        return _train_spec(losses, make_optimizer(shape.optimizer, learning_rate))

    shape = config
    return model_fn


def warm_started(model_fn: ModelFn, checkpoint: str | None, names: Mapping[str, str]) -> ModelFn:
    """``model_fn`` with variables that begin as those of ``checkpoint``, where they fit. Raises JobError."""
    if checkpoint is None:
        return model_fn

    def with_warm_start(
        features: Tensors, labels: Tensors | None, mode: str, config: estimator.RunConfig
    ) -> estimator.EstimatorSpec:
        spec = model_fn(features, labels, mode, config)
        if mode == estimator.ModeKeys.TRAIN:
            try:
                warm_start(checkpoint, names=names)
            except ValueError as error:
                raise JobError(f"--warm-start: {error}") from None
        return spec

    return with_warm_start


def esmm_logits(features: Tensors, config: ModelConfig, *, ps_tasks: int) -> Logits:
    """Both towers over one shared embedding. ``features`` are int64[batch] ids by name."""
    inputs = shared_embedding(features, config, ps_tasks=ps_tasks)
    ctr = tower(inputs, config.towers, name="ctr_tower")
    cvr = tower(inputs, config.towers, name="cvr_tower")
    return Logits(ctr=ctr, cvr=cvr, ctcvr=ctcvr_logit(ctr, cvr))


def shared_embedding(features: Tensors, config: ModelConfig, *, ps_tasks: int) -> tf.Tensor:
    """float32[batch, features * embedding_dim], from one table that both towers train.

    All features share one variable, each with a range of rows of its own, and a batch asks for every row once: one
    gather and one sparse update per step and parameter server instead of one per feature.
    """
    columns, first_row = [], 0
    for feature in config.schema.features:
        columns.append(tf.math.floormod(tf.cast(features[feature.name], tf.int64), feature.ids) + first_row)
        first_row += feature.ids
    ids = tf.stack(columns, axis=1)
    partitioner = tf.compat.v1.fixed_size_partitioner(ps_tasks) if ps_tasks > 1 else None
    with tf.compat.v1.variable_scope("shared_embedding", partitioner=partitioner, use_resource=True):
        table = tf.compat.v1.get_variable(
            "table",
            shape=[config.schema.total_ids, config.embedding_dim],
            initializer=tf.compat.v1.random_normal_initializer(stddev=0.1),
        )
    rows, position = tf.unique(tf.reshape(ids, [-1]))
    unique_vectors = tf.compat.v1.nn.embedding_lookup(table, rows, partition_strategy="div")
    vectors = tf.gather(unique_vectors, position)
    return tf.reshape(vectors, [-1, len(columns) * config.embedding_dim])


def tower(inputs: tf.Tensor, widths: tuple[int, ...], *, name: str) -> tf.Tensor:
    """float32[batch]: a logit from hidden layers of these widths."""
    with tf.compat.v1.variable_scope(name, use_resource=True):
        hidden = inputs
        for i, width in enumerate(widths):
            hidden = tf.nn.relu(_dense(hidden, width, name=f"hidden_{i}"))
        return tf.squeeze(_dense(hidden, 1, name="logit"), axis=1)


def _dense(inputs: tf.Tensor, width: int, *, name: str) -> tf.Tensor:
    with tf.compat.v1.variable_scope(name):
        kernel = tf.compat.v1.get_variable(
            "kernel",
            shape=[inputs.shape[-1], width],
            initializer=tf.compat.v1.glorot_uniform_initializer(),
        )
        bias = tf.compat.v1.get_variable("bias", shape=[width], initializer=tf.compat.v1.zeros_initializer())
        return tf.nn.bias_add(tf.matmul(inputs, kernel), bias)


def _predict_spec(logits: Logits) -> estimator.EstimatorSpec:
    predictions = {
        "pctr": tf.sigmoid(logits.ctr, name="pctr"),
        "pcvr": tf.sigmoid(logits.cvr, name="pcvr"),
        "pctcvr": tf.sigmoid(logits.ctcvr, name="pctcvr"),
    }
    signature = tf.compat.v1.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    outputs = {signature: estimator.export.PredictOutput(predictions)}
    return estimator.EstimatorSpec(estimator.ModeKeys.PREDICT, predictions=predictions, export_outputs=outputs)


def _train_spec(losses: Losses, optimizer: tf.compat.v1.train.Optimizer) -> estimator.EstimatorSpec:
    tf.compat.v1.summary.scalar("ctr_loss", losses.ctr)
    tf.compat.v1.summary.scalar("ctcvr_loss", losses.ctcvr)
    loss = losses.ctr + losses.ctcvr
    train_op = optimizer.minimize(loss, global_step=tf.compat.v1.train.get_or_create_global_step())
    return estimator.EstimatorSpec(estimator.ModeKeys.TRAIN, loss=loss, train_op=train_op)


def _eval_metric_ops(
    click: tf.Tensor, conversion: tf.Tensor, logits: Logits, losses: Losses, groups: tf.Tensor | None
) -> dict[str, object]:
    examples = tf.cast(tf.size(click), tf.float32)
    return {
        **metrics.esmm_metrics(
            click, conversion, ctr_logits=logits.ctr, cvr_logits=logits.cvr, ctcvr_logits=logits.ctcvr, groups=groups
        ),
        "ctr_loss": metrics.mean(losses.ctr, examples, name="ctr_loss"),
        "ctcvr_loss": metrics.mean(losses.ctcvr, examples, name="ctcvr_loss"),
    }
