"""Runs in the tests of other projects: the pytest plug-in, and the same clusters for other test frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.testing.clusters import ClusterRun, Clusters

__all__ = ["ClusterRun", "Clusters"]


def __getattr__(name: str) -> Any:
    """Loads what a test needs when it needs it: pytest loads the plug-in for every project of an environment."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher.testing import clusters

    return getattr(clusters, name)
