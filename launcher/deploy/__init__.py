"""``tflaunch deploy``: files and Python environments onto the hosts of a spec, before anything runs there."""

__all__ = ["command"]
