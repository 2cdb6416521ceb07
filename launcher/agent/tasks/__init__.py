"""Attempts of tasks: started, watched, stopped; their output and what they say."""

__all__ = ["attempt", "attempts", "environment", "output", "stacks", "task_links", "usage"]
