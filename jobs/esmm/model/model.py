"""The graph of ESMM as a model function of tf.estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jobs._tf import estimator, tf
from jobs.errors import JobError
from jobs.esmm.config import ModelConfig
from jobs.esmm.input.schema import CLICK, CONVERSION, Feature
from jobs.esmm.model.losses import Losses, click_space_loss, ctcvr_logit, esmm_losses
from jobs.esmm.model.optimizers import make_optimizer
from jobs.esmm.model.transfer import read_together
from jobs.esmm.options import Objective
from launcher.estimator import metrics, warm_start

Tensors = Mapping[str, tf.Tensor]
ModelFn = Callable[..., estimator.EstimatorSpec]


class Logits(NamedTuple):
    """float32[batch] each."""

    ctr: tf.Tensor
    cvr: tf.Tensor
    ctcvr: tf.Tensor


def make_model_fn(
    config: ModelConfig,
    *,
    learning_rate: float = 0.0,
    group_by: str | None = None,
    weight_column: str | None = None,
    objective: Objective = "esmm",
) -> ModelFn:
    """``learning_rate`` and ``objective`` matter for training only; ``group_by``, a feature, adds AUC within its
    values; ``weight_column``, a label, says how much each impression counts."""

    def model_fn(
        features: Tensors, labels: Tensors | None, mode: str, config: estimator.RunConfig
    ) -> estimator.EstimatorSpec:
        logits = esmm_logits(features, shape, ps_tasks=config.num_ps_replicas)
        if labels is None:
            return _predict_spec(logits)
        target = _target(labels, weight_column)
        losses = esmm_losses(target.click, target.conversion, logits.ctr, logits.cvr, target.weight)
        if mode == estimator.ModeKeys.EVAL:
            ops = _eval_metric_ops(target, logits, losses, features[group_by] if group_by else None)
            return estimator.EstimatorSpec(mode, loss=losses.ctr + losses.ctcvr, eval_metric_ops=ops)
        if objective == "clicks":
            loss = click_space_loss(target.click, target.conversion, logits.cvr, target.weight)
        else:
            loss = _summarized(losses)
        return _train_spec(loss, make_optimizer(shape.optimizer, learning_rate, unique_rows=True))

    shape = config
    return model_fn


class _Target(NamedTuple):
    """float32[batch] each; ``weight`` None: all impressions count alike."""

    click: tf.Tensor
    conversion: tf.Tensor
    weight: tf.Tensor | None


def _target(labels: Tensors, weight_column: str | None) -> _Target:
    click, conversion = (tf.cast(labels[name], tf.float32) for name in (CLICK, CONVERSION))
    weight = None if weight_column is None else tf.cast(labels[weight_column], tf.float32)
    return _Target(click, conversion, weight)


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
    """Both towers over one shared embedding. ``features`` are int64[batch] ids or string[batch], by name."""
    inputs = shared_embedding(features, config, ps_tasks=ps_tasks)
    towers = [_tower_variables(inputs.shape[-1], config.towers, name=name) for name in ("ctr_tower", "cvr_tower")]
    values = iter(read_together([variable for layers in towers for layer in layers for variable in layer]))
    ctr, cvr = (_tower(inputs, [(next(values), next(values)) for _ in layers]) for layers in towers)
    return Logits(ctr=ctr, cvr=cvr, ctcvr=ctcvr_logit(ctr, cvr))


def shared_embedding(features: Tensors, config: ModelConfig, *, ps_tasks: int) -> tf.Tensor:
    """float32[batch, features * embedding_dim], from one table that both towers train.

    All features share one variable, each with a range of rows of its own, and a batch asks for every row once: one
    gather and one sparse update per step and parameter server instead of one per feature.
    """
    columns, first_row = [], 0
    for feature in config.schema.features:
        columns.append(_ids(features[feature.name], feature) + first_row)
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


def _ids(values: tf.Tensor, feature: Feature) -> tf.Tensor:
    """int64[batch] in 0..ids-1. The hash is TensorFlow's, the same on every platform and in every version."""
    if feature.type == "string":
        return tf.strings.to_hash_bucket_fast(values, feature.ids)
    return tf.math.floormod(tf.cast(values, tf.int64), feature.ids)


Layer = tuple[tf.Variable, tf.Variable]


def _tower_variables(inputs: int, widths: tuple[int, ...], *, name: str) -> list[Layer]:
    """Kernel and bias of the hidden layers, and of the one that makes the logit."""
    names = [*(f"hidden_{i}" for i in range(len(widths))), "logit"]
    with tf.compat.v1.variable_scope(name, use_resource=True):
        return [
            _layer(before, width, name=layer)
            for layer, before, width in zip(names, (inputs, *widths), (*widths, 1), strict=True)
        ]


def _layer(inputs: int, width: int, *, name: str) -> Layer:
    with tf.compat.v1.variable_scope(name):
        kernel = tf.compat.v1.get_variable(
            "kernel", shape=[inputs, width], initializer=tf.compat.v1.glorot_uniform_initializer()
        )
        return kernel, tf.compat.v1.get_variable("bias", shape=[width], initializer=tf.compat.v1.zeros_initializer())


def _tower(inputs: tf.Tensor, layers: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    """float32[batch]: a logit, by layers of kernel and bias."""
    hidden = inputs
    for kernel, bias in layers[:-1]:
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(hidden, kernel), bias))
    kernel, bias = layers[-1]
    return tf.squeeze(tf.nn.bias_add(tf.matmul(hidden, kernel), bias), axis=1)


def _predict_spec(logits: Logits) -> estimator.EstimatorSpec:
    predictions = {
        "pctr": tf.sigmoid(logits.ctr, name="pctr"),
        "pcvr": tf.sigmoid(logits.cvr, name="pcvr"),
        "pctcvr": tf.sigmoid(logits.ctcvr, name="pctcvr"),
    }
    signature = tf.compat.v1.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    outputs = {signature: estimator.export.PredictOutput(predictions)}
    return estimator.EstimatorSpec(estimator.ModeKeys.PREDICT, predictions=predictions, export_outputs=outputs)


def _summarized(losses: Losses) -> tf.Tensor:
    tf.compat.v1.summary.scalar("ctr_loss", losses.ctr)
    tf.compat.v1.summary.scalar("ctcvr_loss", losses.ctcvr)
    return losses.ctr + losses.ctcvr


def _train_spec(loss: tf.Tensor, optimizer: tf.compat.v1.train.Optimizer) -> estimator.EstimatorSpec:
    train_op = optimizer.minimize(loss, global_step=tf.compat.v1.train.get_or_create_global_step())
    return estimator.EstimatorSpec(estimator.ModeKeys.TRAIN, loss=loss, train_op=train_op)


def _eval_metric_ops(target: _Target, logits: Logits, losses: Losses, groups: tf.Tensor | None) -> dict[str, object]:
    click, weight = target.click, target.weight
    counted = tf.cast(tf.size(click), tf.float32) if weight is None else tf.reduce_sum(weight)
    return {
        **metrics.esmm_metrics(
            click,
            target.conversion,
            ctr_logits=logits.ctr,
            cvr_logits=logits.cvr,
            ctcvr_logits=logits.ctcvr,
            weights=weight,
            groups=groups,
        ),
        "ctr_loss": metrics.mean(losses.ctr, counted, name="ctr_loss"),
        "ctcvr_loss": metrics.mean(losses.ctcvr, counted, name="ctcvr_loss"),
    }
