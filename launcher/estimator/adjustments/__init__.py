"""What is changed inside a task that knows nothing of a launcher: each change small, named, and to be switched off."""

__all__ = ["adjust", "reporting", "saving", "sessions", "start"]
