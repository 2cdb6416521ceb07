"""What the kernel and the standard library give: processes, descriptors, sockets, the loop."""

__all__ = ["accept", "blocked", "linux", "loop", "memory", "processes", "title", "wire"]
