"""Where hosts come from, and how programs run on one: byte pipes, and nothing of what passes through them."""

__all__ = ["agents", "engine", "known", "local", "reach", "slurm", "sources"]
