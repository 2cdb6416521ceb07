"""Hosts that are reached by SSH. Nothing outside knows Fabric, or paramiko below it."""

__all__ = ["reach"]
