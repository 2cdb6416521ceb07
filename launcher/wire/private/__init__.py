"""What is this process's alone: private folders, who is at the other end of a socket in one, and what it was given of
the machine."""

__all__ = ["cores", "folder", "inherited", "peers", "registry"]
