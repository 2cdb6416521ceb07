"""The one place where jobs import TensorFlow.

tf.estimator left TensorFlow in 2.16; ``install()`` supplies it from the package tensorflow-estimator.
"""

from __future__ import annotations

import tensorflow as tf

from launcher.estimator.compat import install

install()
estimator = tf.estimator

__all__ = ["estimator", "tf"]
