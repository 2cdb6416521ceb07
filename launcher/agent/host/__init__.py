"""The host of a run: the keeper and its agent, the lease, the lock, the way in and the way out."""

__all__ = ["agent", "hold", "keeper", "keeper_line", "lock", "options", "relay", "sweep"]
