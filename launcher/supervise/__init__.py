"""Sees a run through: one loop, a link to each agent, the socket of the run. Carries out, decides nothing."""

__all__ = ["abandoned", "control", "pulse", "supervisor"]
