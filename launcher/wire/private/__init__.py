"""What nobody else may see: private folders, and who is at the other end of a socket in one."""

__all__ = ["folder", "inherited", "peers", "registry"]
