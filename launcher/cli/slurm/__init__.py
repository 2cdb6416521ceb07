"""Runs on the nodes of a Slurm job."""

__all__ = ["allocation", "commands", "doctoring", "there"]
