"""What becomes of a run's hosts: how they are had, and how the run goes on when one is lost."""

__all__ = ["allocating", "moves"]
