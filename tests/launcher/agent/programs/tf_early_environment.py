"""Sets variables that TensorFlow reads while it is imported."""

import os

print("before the import")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import numpy  # noqa: E402
import tensorflow as tf  # noqa: E402

print(numpy.__name__, tf.config.list_physical_devices())
