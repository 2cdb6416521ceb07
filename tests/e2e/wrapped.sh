#!/bin/bash
# A wrapper as people have them: something with TensorFlow first, then the training.
set -e
python -c 'import tensorflow as tf; print("prepared", int(tf.constant(3)))'
python "$(dirname "$0")/wrapped.py" "$@"
