"""Adjustments of the evaluator."""
