"""What programs and the kernel say all the time, and what of it counts."""

__all__ = ["limits", "noise"]
