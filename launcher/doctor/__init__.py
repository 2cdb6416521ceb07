"""``tflaunch doctor``: asks every host what it is and has (``examine``), and judges the answers (``rules``)."""

__all__ = ["examine", "facts", "findings", "rules", "view", "wanted"]
