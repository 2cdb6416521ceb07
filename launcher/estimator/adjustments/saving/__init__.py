"""Adjustments of saving: what is saved last, and what is kept."""

__all__ = ["checkpoint_files", "due", "final_save", "retention"]
