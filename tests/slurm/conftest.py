"""Fixtures of all tests over Slurm."""

from tests.slurm.fixtures import slurm, whole_lab
from tests.slurm.running import batch, inside, place, submitted

__all__ = ["batch", "inside", "place", "slurm", "submitted", "whole_lab"]
