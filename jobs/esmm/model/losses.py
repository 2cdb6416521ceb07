"""ESMM's two losses, in logit space.

pCTCVR = pCTR * pCVR is as small as 1e-6, where ``log(1 - p)`` in float32 and the gradient through the product lose
all digits. With click logit a and conversion logit b::

    log p       = log_sigmoid(a) + log_sigmoid(b)
    log (1 - p) = log p + logaddexp(-a, -b, -a - b)

so the logit of the product is ``-logaddexp(-a, -b, -a - b)``, and the usual stable cross entropy applies to it.
"""

from __future__ import annotations

from typing import NamedTuple

from jobs._tf import tf


class Losses(NamedTuple):
    """Mean losses over all impressions of a batch, float32 scalars."""

    ctr: tf.Tensor
    ctcvr: tf.Tensor


def ctcvr_logit(ctr_logit: tf.Tensor, cvr_logit: tf.Tensor) -> tf.Tensor:
    """The logit of sigmoid(``ctr_logit``) * sigmoid(``cvr_logit``), elementwise and without overflow."""
    terms = tf.stack([-ctr_logit, -cvr_logit, -ctr_logit - cvr_logit])
    return -tf.reduce_logsumexp(terms, axis=0)


def esmm_losses(
    click: tf.Tensor,
    conversion: tf.Tensor,
    ctr_logit: tf.Tensor,
    cvr_logit: tf.Tensor,
    weight: tf.Tensor | None = None,
) -> Losses:
    """Equation 3 of the paper: CTR on clicks, CTCVR on clicks that converted, both over every impression.

    All arguments are float[examples]; labels are 0 or 1. A conversion without a click counts as none. ``weight``: how
    much each impression counts against the others of its batch; only ratios matter.
    """
    both = click * conversion
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
    return Losses(
        ctr=weighted_mean(cross_entropy(labels=click, logits=ctr_logit), weight),
        ctcvr=weighted_mean(cross_entropy(labels=both, logits=ctcvr_logit(ctr_logit, cvr_logit)), weight),
    )


def click_space_loss(
    click: tf.Tensor, conversion: tf.Tensor, cvr_logit: tf.Tensor, weight: tf.Tensor | None = None
) -> tf.Tensor:
    """The loss of what ESMM is compared with: conversions learned from clicked impressions alone. float32 scalar."""
    on_clicks = click if weight is None else click * weight
    return weighted_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=conversion, logits=cvr_logit), on_clicks)


def weighted_mean(values: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """The mean of float[examples], 0 where no example has any weight."""
    if weight is None:
        return tf.reduce_mean(values)
    return tf.math.divide_no_nan(tf.reduce_sum(weight * values), tf.reduce_sum(weight))
