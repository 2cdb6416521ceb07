"""Random numbers of every kind: two tasks must not draw the same."""

import random
import sys
import uuid

import numpy

print(random.random())
print(numpy.random.rand())
print(numpy.random.default_rng().random())
print(uuid.uuid4())
import multiprocessing  # noqa: E402

print(multiprocessing.current_process().authkey.hex())
if "tensorflow" in sys.argv:
    import tensorflow as tf

    print(tf.random.uniform([]).numpy())
