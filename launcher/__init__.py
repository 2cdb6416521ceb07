"""Launch, supervise and explain TensorFlow parameter-server clusters.

Importing this package does nothing and never imports TensorFlow.
"""

__version__ = "0.1.0"
