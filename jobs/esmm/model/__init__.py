"""The graph: towers, losses, optimizers, and what an export is fed with."""
