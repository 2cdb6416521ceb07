"""The in-task library: what runs inside the tasks of a cluster. Importing it never imports TensorFlow."""

from __future__ import annotations
