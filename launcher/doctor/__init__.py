"""``tflaunch doctor``: asks every host what it is and has (``examine``), and judges the answers (``rules``)."""

__all__ = ["checks", "examine", "facts", "findings", "view", "wanted"]
