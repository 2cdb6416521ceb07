"""Streaming input: from files to batches, fast, without losing an example. Importing it never imports TensorFlow."""
