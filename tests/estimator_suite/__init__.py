"""Runs tf.estimator's own tests, which the project keeps no copy of, on two TensorFlows and compares them."""
