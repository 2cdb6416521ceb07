"""The forms of values: what a message's field may hold, and rows of what is sampled."""

__all__ = ["named", "series", "shapes"]
