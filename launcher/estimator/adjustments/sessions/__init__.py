"""Adjustments of sessions: how a trainer comes by one, and how it ends."""
