"""Files that grow, on a disk that may be full, and within a limit; and whose a folder is."""

__all__ = ["appending", "claim", "log_file"]
