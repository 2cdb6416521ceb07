"""Adjustments of the start: what an Estimator is made with."""

__all__ = [
    "cluster_pieces",
    "device_filters",
    "fitting",
    "given_cluster",
    "home",
    "model_dirs",
    "placement",
    "preflight",
    "roaming",
    "servers",
    "shares",
]
