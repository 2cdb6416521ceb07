"""What a process may use of the host that it is on."""

__all__ = ["cores"]
