"""Adjustments of saving: what is saved last, and what is kept."""
