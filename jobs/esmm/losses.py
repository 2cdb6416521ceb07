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


def esmm_losses(click: tf.Tensor, conversion: tf.Tensor, ctr_logit: tf.Tensor, cvr_logit: tf.Tensor) -> Losses:
    """Equation 3 of the paper: CTR on clicks, CTCVR on clicks that converted, both over every impression.

    All arguments are float[examples]; labels are 0 or 1. A conversion without a click counts as none.
    """
    both = click * conversion
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
    return Losses(
        ctr=tf.reduce_mean(cross_entropy(labels=click, logits=ctr_logit)),
        ctcvr=tf.reduce_mean(cross_entropy(labels=both, logits=ctcvr_logit(ctr_logit, cvr_logit))),
    )
