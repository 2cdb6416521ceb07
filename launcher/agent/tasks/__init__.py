"""Attempts of tasks: started, watched, stopped; their output and what they say."""

__all__ = ["attempt", "environment", "output", "stacks", "standing", "task_links", "task_runner", "usage"]
