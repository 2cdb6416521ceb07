"""Adjustments of the evaluator."""

__all__ = ["evaluator", "own_loops"]
