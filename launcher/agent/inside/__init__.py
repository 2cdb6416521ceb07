"""What runs inside the process of a task, up to the program of the user."""

__all__ = ["below", "fork_server", "forked", "fresh", "guard", "last_words", "warm"]
