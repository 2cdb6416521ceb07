"""The one way in: a path to what is there. Imports TensorFlow."""

from __future__ import annotations

from launcher.estimator.inspection import checkpoints, graphs
from launcher.estimator.inspection.kinds import Found, Kind
from launcher.estimator.inspection.values import Model


def look(found: Found) -> Model:
    """Everything that is to be seen there without running anything of it. Raises InspectionError."""
    if found.kind is Kind.CHECKPOINT:
        return checkpoints.checkpoint(found.path, found.notes)
    if found.kind is Kind.CHECKPOINTS:
        return checkpoints.folder(found.path)
    if found.kind is Kind.SAVED_MODEL:
        return graphs.saved_model(found)
    return graphs.graph_file(found)
