"""Adjustments of sessions: how a trainer comes by one, and how it ends."""

__all__ = ["global_steps", "sessions", "sync_replicas", "termination", "trainer", "trainings"]
