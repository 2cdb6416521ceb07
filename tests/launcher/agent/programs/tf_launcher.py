"""Uses the in-task library, which need not be installed."""

import sys

print("tensorflow" in sys.modules, "launcher" in sys.modules)
import tensorflow as tf  # noqa: E402

import launcher.estimator  # noqa: E402

print(launcher.estimator.__name__, tf.estimator.DNNClassifier.__name__)
