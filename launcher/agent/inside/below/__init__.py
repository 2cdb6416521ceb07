"""Python programs that a task starts: what a wrapper runs, subprocesses, processes of multiprocessing.

PYTHONPATH leads each of them to ``sitecustomize.py`` in this folder, which Python imports at its start. When one
imports TensorFlow it gets tf.estimator and the Keras of the run, as a task does. The first of a task that does is what
the task is about, and gets its adjustments as well; not one that is started by, and so runs beside, a process that has
them. An interpreter that is told to ignore its environment (``-I``, ``-E``) or has no ``site`` (``-S``) gets nothing.
"""

__all__ = ["path"]
