"""The graph: towers, losses, optimizers, and what an export is fed with."""

__all__ = ["model", "serving", "transfer"]
