"""Adjustments of sessions: how a trainer comes by one, and how it ends."""

__all__ = [
    "gate",
    "global_steps",
    "reopening",
    "short_transfers",
    "sync_replicas",
    "termination",
    "trainer",
    "trainings",
]
