"""Ports of tasks: held, and proven to be served by the task alone."""

__all__ = ["guarding", "lookout", "prover", "reservations", "reserving"]
