"""Where files are, and how their bytes are got at: on this machine or elsewhere, compressed or not."""

__all__ = ["files", "remote", "sources", "unpacking"]
