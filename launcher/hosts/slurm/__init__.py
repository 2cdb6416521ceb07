"""Hosts that are nodes of a Slurm job. Nothing outside knows Slurm's commands."""

__all__ = ["engine", "keys", "nodes", "reach", "script", "submitted"]
