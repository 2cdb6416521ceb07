"""Who is told of a run while it goes on: a process beside the supervisor, whose faults and slowness are its own."""

__all__ = ["listener", "program"]
