"""Adjustments that report: steps, logs, traces, and what was damaged."""

__all__ = ["heartbeat", "input_wait", "log_format", "profiler", "uses"]
