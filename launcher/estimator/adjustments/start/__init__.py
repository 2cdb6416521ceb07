"""Adjustments of the start: what an Estimator is made with."""
