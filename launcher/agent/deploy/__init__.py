"""What ``tflaunch deploy`` does on a host: keeps files by their content, makes trees of them, and environments."""

__all__ = ["program"]
