"""The library that keeps strangers from the ports of a run, its build, and the file that it reads."""

__all__ = ["addresses", "build", "library"]
