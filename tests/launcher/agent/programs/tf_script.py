"""A TensorFlow 1 script: flags, app.run, logging, a session, warnings, an exception."""

import logging
import os
import sys
import warnings

import tensorflow as tf
from absl import logging as absl_logging

flags = tf.compat.v1.app.flags
flags.DEFINE_string("name", "none", "A name.")
print([name for name in ("numpy", "tensorflow.python", "tensorflow._api.v2.compat.v1") if name in sys.modules])
print(sorted(name for name in os.environ if name.startswith(("TF", "TPU"))), os.environ["TF_CPP_MIN_LOG_LEVEL"])


def main(arguments):
    print(arguments, flags.FLAGS.name, tf.__name__, tf.__file__, tf.executing_eagerly())
    logger = tf.compat.v1.logging
    logger.set_verbosity(logger.INFO)
    logger.info("tf logger")
    handlers = logging.getLogger("tensorflow").handlers
    print(logging.root.handlers, [(type(h), h.stream is sys.stderr, h.formatter._fmt) for h in handlers])
    absl_logging.error("absl")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        print(session.run(tf.constant(1) + 1))
    ours = {"SecurityWarning", "InsecurePlatformWarning"}  # of what an Estimator imports later
    print([kind for kind in (item[2].__name__ for item in warnings.filters) if kind not in ours])
    raise tf.errors.AbortedError(None, None, "the user's error")


if __name__ == "__main__":
    tf.compat.v1.app.run(main)
