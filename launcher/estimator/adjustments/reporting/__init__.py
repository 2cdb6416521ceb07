"""Adjustments that report: steps, logs, traces, and what was damaged."""
