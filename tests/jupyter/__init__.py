"""Runs from a real Jupyter kernel, in an environment of its own; make test-jupyter."""
