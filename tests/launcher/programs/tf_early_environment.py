"""Sets variables that TensorFlow reads while it is imported."""

import os
from pathlib import Path

print("before the import")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
if os.environ.get("LATE"):
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
import numpy  # noqa: E402
import tensorflow as tf  # noqa: E402

print(numpy.__name__, tf.config.list_physical_devices())
print("started over:", b"program.py" in Path("/proc/self/cmdline").read_bytes())
