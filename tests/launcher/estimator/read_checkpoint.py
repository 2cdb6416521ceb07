"""Run by the tests: prints variables of a folder's newest checkpoint as JSON. Arguments: the folder, names."""

import json
import sys

import tensorflow as tf

folder, *names = sys.argv[1:]
reader = tf.train.load_checkpoint(folder)
print(json.dumps({name: float(reader.get_tensor(name)) for name in names}))
