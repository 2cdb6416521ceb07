"""What ``tflaunch doctor`` looks at on a host. Travels with the agent, and like it stands on the standard library."""

__all__ = ["probe"]
