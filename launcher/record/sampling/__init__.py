"""What is sampled of a run, in bounded space: written by ``sampler``, read by ``samples``."""

__all__ = ["sampler", "samples"]
