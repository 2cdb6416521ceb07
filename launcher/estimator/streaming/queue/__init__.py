"""The shared queue of shards: who reads which, and what has been trained."""

__all__ = ["cells", "feeding", "folder", "hooks", "journal", "numbers", "session", "shelf"]
